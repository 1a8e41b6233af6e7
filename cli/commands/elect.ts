import { Command } from 'commander';
import { once } from 'node:events';
import type { Kv, Leader } from '../../src/index.js';
import { withKv } from '../connection.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure, usageError } from '../failure.js';
import { printFields, type OutputFormat } from '../output.js';
import { givenUp, runWhile, untilHeld, type Held } from '../run-while.js';
import { whyWaiting } from '../lease-view.js';
import { leaseAsOption, leaseTtlOption, settingsOf, thisProcess, waitOption } from '../settings.js';

interface Options {
  readonly as?: string;
  readonly observe?: true;
  readonly ttl?: number;
  readonly wait?: number;
}

export function electCommand(): Command {
  return new Command('elect')
    .description('stand in an election, or watch who leads')
    .argument('<name>', 'name of the election; its key is election/NAME')
    .argument(
      '[command...]',
      'what to run while leading, after --; without it: lead until SIGINT or SIGTERM',
    )
    .addOption(leaseAsOption('what the others learn of this candidate'))
    .option('--observe', 'do not stand, print who leads, first and whenever it changes')
    .addOption(leaseTtlOption())
    .addOption(waitOption())
    .addHelpText(
      'after',
      `
Waits until this candidate leads, prints that, and leads until it is stopped: then it resigns, and another one leads at once. Should it
die, another one leads after --ttl. Exit codes as of kvctl lock, the fencing token of the term is in QUORATE_TOKEN too: 9 when the
leadership is lost, 6 when --wait is over. Stopped by SIGINT or SIGTERM without a command, it ends with 0;
so does --observe. When the command outlives kvctl (kill -9), it goes on without the leadership: see kvctl lock.

Examples:
  kvctl elect scheduler --as "$(hostname)" -- ./scheduler
  kvctl elect scheduler --observe -o jsonl`,
    )
    .action(async (name: string, words: string[], options: Options, command: Command) => {
      const settings = settingsOf(command);
      const format = settings.output ?? 'table';
      if (options.observe === true) {
        if (words.length > 0) throw usageError('--observe: runs no command');
        await withKv(settings, (kv) => observe(kv, name, format));
        return;
      }
      process.exitCode = await withKv(settings, async (kv) => {
        const { wait } = options;
        const value = options.as ?? thisProcess();
        const what = `leadership of ${name}`;
        const term = await untilHeld(
          (signal) =>
            electionOf(kv, name, options).campaign(value, {
              signal,
              ...(wait !== undefined && { waitMs: wait }),
            }),
          () => whyWaiting(kv, `election/${name}`, what),
        );
        const { token } = term;
        const held: Held = {
          what,
          token,
          signal: term.signal,
          giveUp: () => term.resign(),
        };
        if (words.length > 0) {
          return runWhile(held, words, { QUORATE_ELECTION: name, QUORATE_TOKEN: token });
        }
        await printLeader(format, { value, token });
        return lead(held);
      });
    });
}

function electionOf(kv: Kv<Uint8Array>, name: string, { ttl }: Options) {
  return kv.election(name, ttl === undefined ? {} : { ttlMs: ttl });
}

/** Until a signal comes or the leadership is lost. */
async function lead(held: Held): Promise<number> {
  const stopped = new AbortController();
  const stop = (): void => stopped.abort();
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    const either = AbortSignal.any([stopped.signal, held.signal]);
    if (!either.aborted) await once(either, 'abort');
    if (held.signal.aborted) {
      const { message } = held.signal.reason as Error;
      throw new CommandFailure(EXIT.lost, 'LOST', message);
    }
    return (await givenUp(held)) ? EXIT.ok : EXIT.lost;
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** Until a signal comes, which is how watching ends. */
async function observe(kv: Kv<Uint8Array>, name: string, format: OutputFormat): Promise<void> {
  const stopped = new AbortController();
  const stop = (): void => stopped.abort();
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    for await (const leader of kv.election(name).observe({ signal: stopped.signal })) {
      await printLeader(format === 'json' ? 'jsonl' : format, leader);
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

function printLeader(format: OutputFormat, leader: Leader | undefined): Promise<void> {
  const { value, token } = leader ?? {};
  return printFields(
    format,
    value === undefined || token === undefined
      ? [['leader', format === 'table' ? 'nobody' : '']]
      : [
          ['leader', value],
          ['token', token],
        ],
    leader === undefined ? { leader: null } : { leader: value, token },
  );
}
