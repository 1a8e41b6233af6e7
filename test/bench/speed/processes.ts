import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Of what a process says on standard error, the end. */
const TOLD_CHARACTERS = 2_000;
const END_WITHIN_MS = 15_000;

/** A process of the benchmark. */
export interface Launched {
  readonly child: ChildProcess;
  readonly pid: number;
}

/**
 * The processes that the benchmark starts and the folder that they write to. However this process ends, but for SIGKILL,
 * each of them is ended by its own id and the folder is removed.
 */
export class Processes {
  readonly folder: string;
  /** Rejects when a process ends that was not stopped: what is measured afterwards would be something else. */
  readonly broken: Promise<never>;
  readonly #running = new Set<ChildProcess>();
  readonly #expected = new WeakSet<ChildProcess>();
  #break!: (error: Error) => void;

  constructor(parentFolder: string) {
    mkdirSync(parentFolder, { recursive: true });
    this.folder = mkdtempSync(join(parentFolder, 'quorate-speed-'));
    this.broken = new Promise((_, reject) => {
      this.#break = reject;
    });
    // Whoever is to hear of it races with it; until then it is nobody's error.
    this.broken.catch(() => {});
    process.on('exit', () => this.#end());
  }

  /** Ids of those that run. */
  get pids(): readonly number[] {
    return [...this.#running].flatMap(({ pid }) => pid ?? []);
  }

  launch(name: string, command: string, args: readonly string[], options: SpawnOptions): Launched {
    const child = spawn(command, args, options);
    let told = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      told = (told + text).slice(-TOLD_CHARACTERS);
    });
    child.once('error', (error) => this.#break(error));
    if (child.pid === undefined) throw new Error(`${name} cannot be started`);
    this.#running.add(child);
    child.once('exit', (code, signal) => {
      this.#running.delete(child);
      if (this.#expected.has(child)) return;
      this.#break(new Error(`${name} has ended (${signal ?? code}): ${told}`));
    });
    return { child, pid: child.pid };
  }

  /** Says that the process will end by itself. Resolves with its exit code once it has. */
  async ended({ child }: Launched): Promise<number | null> {
    this.#expected.add(child);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode;
  }

  async stop(launched: Launched, signal: NodeJS.Signals): Promise<void> {
    this.#expected.add(launched.child);
    launched.child.kill(signal);
    const killing = setTimeout(() => launched.child.kill('SIGKILL'), END_WITHIN_MS);
    await this.ended(launched);
    clearTimeout(killing);
  }

  #end(): void {
    for (const child of this.#running) child.kill('SIGKILL');
    // A process that is being killed may write a last file into a folder that is being emptied.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}
