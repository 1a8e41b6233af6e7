import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { KvError } from '../src/core/errors.js';
import { EXIT } from './exit-code.js';
import { CommandFailure } from './failure.js';
import { note } from './output.js';

/** A lock or a leadership, while a command runs under it. */
export interface Held {
  /** `lock jobs`. */
  readonly what: string;
  readonly token: string;
  /** Aborted when it is lost. */
  readonly signal: AbortSignal;
  /** False: it had been lost before. */
  giveUp(): Promise<boolean>;
}

/** A command that is told to end has so long to do it. */
const END_GRACE_MS = 5_000;
const PASSED_ON: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
];
/** A terminal sends these to the command as well, by itself. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT']);

/**
 * Runs a command while something is held, and gives that up when the command has ended. Resolves with the exit code: that of the
 * command, as a shell tells it. Signals are passed on to it. When what is held is lost, the command is told to end, and
 * killed if it does not; the exit code then says so, whatever the command's was.
 */
export async function runWhile(
  held: Held,
  [file = '', ...args]: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...environment } });
  const passOn = (signal: NodeJS.Signals): void => {
    if (!(process.stdin.isTTY && FROM_TERMINAL.has(signal))) child.kill(signal);
  };
  const onLost = (): void => {
    const { reason } = held.signal as { readonly reason: unknown };
    note(`error: ${reason instanceof Error ? reason.message : held.what} The command is stopped.`);
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), END_GRACE_MS).unref();
  };
  for (const signal of PASSED_ON) process.on(signal, passOn);
  held.signal.addEventListener('abort', onLost, { once: true });
  if (held.signal.aborted) onLost();
  try {
    const code = await endOf(child, file);
    return (await givenUp(held)) ? code : EXIT.lost;
  } finally {
    held.signal.removeEventListener('abort', onLost);
    for (const signal of PASSED_ON) process.off(signal, passOn);
  }
}

/** Who waits for so long is told why. */
const TELL_AFTER_MS = 1_000;

/**
 * Waits for something to be held, until SIGINT or SIGTERM ends the waiting: exit code 130. When it takes long, `why` is asked once
 * what for, and people are told.
 */
export async function untilHeld<T>(
  wait: (signal: AbortSignal) => Promise<T>,
  why: () => Promise<string>,
): Promise<T> {
  const controller = new AbortController();
  let isOver = false;
  const tell = async (): Promise<void> => {
    const reason = await why();
    if (!isOver) note(reason);
  };
  const timer = setTimeout(() => void tell(), TELL_AFTER_MS);
  const stop = (signal: NodeJS.Signals): void => controller.abort(signal);
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await wait(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    throw new CommandFailure(EXIT.interrupted, 'INTERRUPTED', 'interrupted while waiting');
  } finally {
    isOver = true;
    clearTimeout(timer);
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

/** False when it was lost. A failure to give it up leaves it to end with its time. */
export async function givenUp(held: Held): Promise<boolean> {
  try {
    return (await held.giveUp()) && !held.signal.aborted;
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    if (!held.signal.aborted)
      note(`warning: the ${held.what} ends with its time: ${error.message}`);
    return !held.signal.aborted;
  }
}

async function endOf(child: ChildProcess, file: string): Promise<number> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
  } catch (error) {
    // As shells say it.
    const { code } = error as NodeJS.ErrnoException;
    const problem =
      code === 'ENOENT'
        ? 'command not found'
        : code === 'EACCES'
          ? 'permission denied: it is not executable'
          : (error as Error).message;
    note(`error: ${file}: ${problem}`);
    return code === 'ENOENT' ? 127 : 126;
  }
}
