import { Level } from 'level';
import { Dice } from '../../../cli/bench/dice.js';
import { createKeyChooser } from '../../../cli/bench/key-chooser.js';
import { BenchRecords } from '../../../cli/bench/records.js';

// One of the three processes of limit.ts: puts records straight into LevelDB, in synced chained batches, for as long as each
// message says. Usage: limit-writer.js FOLDER RECORDS VALUE_BYTES, forked.

/** Gathered in one synced write. */
const BATCH = 256;
/** One is filled while the other is written. */
const BATCHES_UNDER_WAY = 2;
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024;

const [folder = '', count = '', valueBytes = ''] = process.argv.slice(2);
const database = new Level<Uint8Array, Uint8Array>(folder, {
  keyEncoding: 'view',
  valueEncoding: 'view',
  writeBufferSize: WRITE_BUFFER_BYTES,
});
const dice = new Dice(1);
const records = new BenchRecords('bench/', Number(valueBytes), dice);
const choose = createKeyChooser('uniform', dice);

async function writeFor(durationMs: number): Promise<{ records: number; durationMs: number }> {
  const startedMs = performance.now();
  const endMs = startedMs + durationMs;
  let written = 0;
  const follow = async () => {
    while (performance.now() < endMs) {
      const batch = database.batch();
      for (let i = 0; i < BATCH; i++) {
        batch.put(records.key(choose(Number(count))), records.nextValue());
      }
      await batch.write({ sync: true });
      written += BATCH;
    }
  };
  await Promise.all(Array.from({ length: BATCHES_UNDER_WAY }, follow));
  return { records: written, durationMs: performance.now() - startedMs };
}

await database.open();
process.on('message', (durationMs: number) => {
  void writeFor(durationMs).then((written) => process.send?.(written));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
