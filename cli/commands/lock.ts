import { Command } from 'commander';
import { withKv } from '../connection.js';
import { runWhile, untilHeld } from '../run-while.js';
import { whyWaiting } from '../lease-view.js';
import { leaseAsOption, leaseTtlOption, settingsOf, thisProcess, waitOption } from '../settings.js';

export function lockCommand(): Command {
  return new Command('lock')
    .description('run a command while holding a lock')
    .argument('<name>', 'name of the lock; its key is lock/NAME')
    .argument('<command...>', 'the command and its arguments, after --')
    .addOption(leaseAsOption('what those that wait learn of this holder'))
    .addOption(leaseTtlOption())
    .addOption(waitOption())
    .addHelpText(
      'after',
      `
Waits for the lock (after a second it says for whom), runs the command, and releases the lock when it has ended. The lock is renewed meanwhile; should its holder die,
others get it after --ttl. The exit code is that of the command: 126 and 127 where it could not be started, 128 and the number of
the signal that killed it. Signals are passed on to it. If the lock is lost (the cluster could not be reached for too long) the
command gets SIGTERM, 5 s later SIGKILL, and the exit code is 9. Waiting longer than --wait ends with 6.

A lock alone does not keep a command from writing after another one got the lock: one that was paused, that is cut off, or that
outlives kvctl, since kill -9 of kvctl does not reach the command. The command
finds its fencing token in QUORATE_TOKEN: text that sorts after those of all holders before. What it writes to should refuse lower
tokens than it has seen.

Examples:
  kvctl lock nightly -- ./backup.sh /data
  kvctl lock deploy --ttl 30s --wait 1m -- make deploy`,
    )
    .action(
      async (
        name: string,
        words: string[],
        options: { readonly as?: string; readonly ttl?: number; readonly wait?: number },
        command: Command,
      ) => {
        process.exitCode = await withKv(settingsOf(command), async (kv) => {
          const { ttl, wait } = options;
          const what = `lock ${name}`;
          const lock = await untilHeld(
            (signal) =>
              kv.lock(name, {
                as: options.as ?? thisProcess(),
                signal,
                ...(ttl !== undefined && { ttlMs: ttl }),
                ...(wait !== undefined && { waitMs: wait }),
              }),
            () => whyWaiting(kv, `lock/${name}`, what),
          );
          const { token } = lock;
          const held = {
            what,
            token,
            signal: lock.signal,
            giveUp: () => lock.release(),
          };
          return runWhile(held, words, { QUORATE_LOCK: name, QUORATE_TOKEN: token });
        });
      },
    );
}
