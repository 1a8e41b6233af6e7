import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Seen } from './measured.js';
import type { Launched, Processes } from './processes.js';

const WRITER = fileURLToPath(new URL('limit-writer.js', import.meta.url));
const WRITERS = 3;

/**
 * The most that three replicas of every record can do on this machine: three processes at once, each of which puts all
 * records straight into LevelDB in the fastest form it has. There is no network in it, no request and no answer.
 */
export class Limit {
  private constructor(private readonly writers: readonly Launched[]) {}

  static async start(processes: Processes, records: number, valueBytes: number): Promise<Limit> {
    const writers = Array.from({ length: WRITERS }, (_, i) => {
      const folder = join(processes.folder, `limit-${i + 1}`);
      const args = [WRITER, folder, `${records}`, `${valueBytes}`];
      return processes.launch(`writer ${i + 1}`, process.execPath, args, {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      });
    });
    await Promise.all(writers.map(({ child }) => once(child, 'message')));
    return new Limit(writers);
  }

  get pids(): readonly number[] {
    return this.writers.map(({ pid }) => pid);
  }

  /** A record counts as an operation once it is in all three: the mean of what they wrote, as slices end together. */
  async measure(durationMs: number): Promise<Seen> {
    const written = await Promise.all(
      this.writers.map(async ({ child }) => {
        const answer = once(child, 'message');
        child.send(durationMs);
        return (await answer)[0] as { records: number; durationMs: number };
      }),
    );
    return {
      operations: written.reduce((sum, { records }) => sum + records, 0) / WRITERS,
      durationMs: Math.max(...written.map((each) => each.durationMs)),
      errors: 0,
      missing: 0,
    };
  }
}
