import { once } from 'node:events';
import type { Readable } from 'node:stream';
import type { Kv } from '../src/index.js';
import { formatCount } from './durations.js';
import { EXIT } from './exit-code.js';
import { CommandFailure } from './failure.js';
import { entryOf, type ImportPlan } from './import-entry.js';
import type { ImportLedger } from './import-ledger.js';
import { ImportPump } from './import-pump.js';
import type { Input } from './input.js';
import { startProgress } from './progress.js';
import { BrokenInput } from './record-splitter.js';
import { detectFormat, readRecords, type InputRecord, type RecordFormat } from './record-reader.js';

export interface ImportSettings {
  /** Undefined: {@link detectFormat} decides. */
  readonly format: RecordFormat | undefined;
  readonly concurrency: number;
  readonly giveUpMs: number;
}

const SAVE_EVERY_MS = 2_000;
const PROGRESS_EVERY_MS = 200;
/** How many records may be done beyond one that is not: what is remembered of them is bounded, and so is what is repeated. */
const LONGEST_LEAD = 16_384;

/**
 * Stores the records of `input` from the ledger's resume point on. Whatever stops it, a signal too, is thrown after what
 * was under way has been answered and the resume point has been saved.
 */
export async function runImport(
  kv: Kv<Uint8Array>,
  input: Input,
  plan: ImportPlan,
  settings: ImportSettings,
  ledger: ImportLedger,
): Promise<void> {
  const progress = startProgress({
    verb: 'imported',
    items: 'records',
    total: input.stats?.size,
    startDone: ledger.byte,
    startItems: ledger.records,
  });
  const pump = new ImportPump(kv, {
    concurrency: settings.concurrency,
    giveUpMs: settings.giveUpMs,
    onDone: (index) => ledger.recordStored(index),
    onRejected: (index, error) => ledger.recordRejected(index, error.message),
    onExpired: (index) => ledger.recordExpired(index),
    onTrouble: (error) =>
      progress.note(
        error === undefined
          ? 'Puts succeed again.'
          : `Puts fail and are tried again: ${error.message} [${error.code}]`,
      ),
    onFailure: (_error, index) => {
      if (signal === undefined) progress.note(`Giving up at record ${formatCount(index + 1)}.`);
      // Whoever waits for input need not wait for more of it.
      input.chunks.destroy();
    },
  });
  let signal: NodeJS.Signals | undefined;
  const interrupt = (received: NodeJS.Signals) => {
    signal = received;
    progress.note(`${received}: waiting for the puts under way`);
    pump.stop();
    input.chunks.destroy();
  };
  let isWarned = false;
  const save = () => {
    try {
      ledger.save();
    } catch (error) {
      // An import need not fail for that, but people should know what an interruption will cost.
      if (!isWarned) progress.note(`warning: no resume point: ${(error as Error).message}`);
      isWarned = true;
    }
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const saving = setInterval(save, SAVE_EVERY_MS);
  const showing = setInterval(
    () => progress.update(ledger.byte, ledger.records),
    PROGRESS_EVERY_MS,
  );
  try {
    const format = settings.format ?? detectFormat(input.path, await firstChunk(input.chunks));
    await pumpRecords(readRecords(input.chunks, format, ledger.resumedAfter), pump, plan, ledger);
    await pump.drain();
    ledger.finish();
  } catch (error) {
    pump.stop();
    const failure = await pump.drain().then(
      () => undefined,
      (putFailure: unknown) => putFailure,
    );
    // An input that is mended is another one, so there is nothing to go on from.
    if (error instanceof BrokenInput) ledger.finish();
    else save();
    if (signal === undefined) throw failure ?? error;
    const after = `${signal} after ${formatCount(ledger.records)} records`;
    throw new CommandFailure(EXIT.interrupted, 'INTERRUPTED', after);
  } finally {
    clearInterval(saving);
    clearInterval(showing);
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    progress.update(ledger.byte, ledger.records);
    progress.stop();
  }
}

async function pumpRecords(
  batches: AsyncIterable<readonly InputRecord[]>,
  pump: ImportPump,
  plan: ImportPlan,
  ledger: ImportLedger,
): Promise<void> {
  let index = ledger.resumedAfter;
  for await (const records of batches) {
    for (const record of records) {
      while (index - ledger.records >= LONGEST_LEAD) await pump.ended();
      const { line, endByte } = record;
      ledger.begin(index, { line, endByte, text: 'json' in record ? record.json : record.text });
      const entry = entryOf(plan, record);
      if (entry.ok) {
        ledger.duplicates.see(entry.key, line);
        let room = pump.offer(index, entry.key, entry.value, entry.life);
        while (room !== undefined) {
          await room;
          room = pump.offer(index, entry.key, entry.value, entry.life);
        }
      } else {
        ledger.recordRejected(index, entry.reason);
      }
      index++;
    }
  }
}

/** What comes first, which stays to be read. Empty at the end of the input. */
async function firstChunk(stream: Readable): Promise<Uint8Array> {
  // A stream that is destroyed by a signal meanwhile closes and is never readable.
  await Promise.race([once(stream, 'readable'), once(stream, 'close')]);
  const chunk = stream.read() as Buffer | null;
  if (chunk === null) return new Uint8Array();
  stream.unshift(chunk);
  return chunk;
}
