import { Command, Option } from 'commander';
import type { Kv } from '../../src/index.js';
import { parseOperation, problemLine, resultLine } from '../batch-line.js';
import { withKv } from '../connection.js';
import { EXIT } from '../exit-code.js';
import { openInput } from '../input.js';
import { note, writeData } from '../output.js';
import { LineSplitter, type RawRecord } from '../record-splitter.js';
import { countArgument, settingsOf } from '../settings.js';

export function batchCommand(): Command {
  return new Command('batch')
    .description('carry out operations, one JSON object a line')
    .argument('[file]', 'what to read; - or nothing: standard input')
    .addOption(
      new Option('--at-once <n>', 'operations carried out side by side, 1 to 10000')
        .default(1_000)
        .argParser(countArgument(1, 10_000)),
    )
    .addHelpText(
      'after',
      `
Lines: {"op":"put","key":"a","value":"b"}, {"op":"get","key":"a"}, {"op":"del","key":"a"}; a put may have "ttl":"30s", after
which it expires; bytes that are not text are {"base64":"..."}. Each gets one line of JSON in answer, in the same order, whatever -o says. A batch is no transaction:
operations are carried out side by side; --at-once 1 makes each wait for the one before. Exit code 1 says that some failed.

Example:
  printf '%s\\n' '{"op":"put","key":"a","value":"1"}' '{"op":"get","key":"b"}' | kvctl batch`,
    )
    .action(async (file: string | undefined, options: { atOnce: number }, command: Command) => {
      const settings = settingsOf(command);
      const input = openInput(file, 'name a file of operations, or pipe one in');
      const counts: Counts = { lines: 0, failed: 0, unknown: 0 };
      await withKv(settings, async (kv) => {
        const splitter = new LineSplitter();
        for await (const chunk of input.chunks as AsyncIterable<Buffer>) {
          await answer(kv, splitter.push(chunk), options.atOnce, counts);
        }
        await answer(kv, splitter.end(), options.atOnce, counts);
      });
      const { lines, failed, unknown } = counts;
      if (failed === 0) return;
      const doubt = unknown === 0 ? '' : `; ${unknown} of them may have taken effect`;
      note(`${failed} of ${lines} operations failed${doubt}`);
      process.exitCode = EXIT.error;
    });
}

interface Counts {
  lines: number;
  failed: number;
  /** Of the failed, those that may have taken effect. */
  unknown: number;
}

/** Answers every line, in order, and counts. */
async function answer(
  kv: Kv<Uint8Array>,
  lines: readonly RawRecord[],
  atOnce: number,
  counts: Counts,
): Promise<void> {
  counts.lines += lines.length;
  for (let from = 0; from < lines.length; from += atOnce) {
    const part = lines.slice(from, from + atOnce).map(({ line, text, problem }) => {
      const parsed = problem === undefined ? parseOperation(text) : { problem };
      return { line, parsed };
    });
    const operations = part.flatMap(({ parsed }) => ('problem' in parsed ? [] : [parsed]));
    const results = operations.length === 0 ? [] : await kv.batch(operations);
    let next = 0;
    let answers = '';
    for (const { line, parsed } of part) {
      if ('problem' in parsed) {
        counts.failed++;
        answers += problemLine(line, parsed.problem);
        continue;
      }
      const result = results[next++];
      if (result === undefined) continue;
      if (!result.ok) {
        counts.failed++;
        if (result.error.outcome === 'unknown') counts.unknown++;
      }
      answers += resultLine(parsed, result);
    }
    await writeData(answers);
  }
}
