import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Problem } from './problem.js';

/**
 * What tells a process of ours from any other that now has its id: ids are reused, start times repeat after a reboot, and
 * the token is random and in no other process's environment.
 */
export interface ProcessIdentity {
  readonly pid: number;
  /** As the system tells it: clock ticks since boot on Linux, a date elsewhere. Only ever compared. */
  readonly startTime: string;
  readonly token: string;
}

/** What the system says of the process that has an id now. */
export interface SeenProcess {
  readonly startTime: string;
  /** Of a zombie nothing is left but its exit code, which nobody has read yet. */
  readonly condition: 'running' | 'paused' | 'zombie';
  /** Undefined when it has none, or when its environment may not be read. */
  readonly token: string | undefined;
}

/** The environment variable that carries the token. */
export const TOKEN_VARIABLE = 'LOCAL_CLUSTER_TOKEN';

/** `gone`: it has ended, whatever has its id now. */
export function conditionOf(
  identity: ProcessIdentity,
  seen: SeenProcess | undefined,
): 'running' | 'paused' | 'gone' {
  if (seen === undefined || seen.condition === 'zombie') return 'gone';
  const isOurs = seen.startTime === identity.startTime && seen.token === identity.token;
  return isOurs ? seen.condition : 'gone';
}

/** Undefined when no process has the id. */
export function seeProcess(pid: number): SeenProcess | undefined {
  return process.platform === 'linux' ? seeThroughProc(pid) : seeThroughPs(pid);
}

/**
 * Sends a signal to a process of ours, or tells that it has ended. The check comes right before the signal; what an id means
 * cannot change in between unless the process ends and all other ids are used up within microseconds.
 */
export function signalOwn(identity: ProcessIdentity, signal: NodeJS.Signals): 'sent' | 'gone' {
  if (conditionOf(identity, seeProcess(identity.pid)) === 'gone') return 'gone';
  try {
    process.kill(identity.pid, signal);
    return 'sent';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return 'gone';
    throw new Problem(`Process ${identity.pid} cannot be sent ${signal}: ${code ?? 'unknown'}.`);
  }
}

function seeThroughProc(pid: number): SeenProcess | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  return { ...parseProcStat(stat), token: tokenIn(readIfThere(`/proc/${pid}/environ`), '\0') };
}

/** Of /proc/PID/stat: the state is field 3 and the start time field 22. Field 2 may hold spaces and brackets itself. */
export function parseProcStat(stat: string): Omit<SeenProcess, 'token'> {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { startTime: fields[19] ?? '', condition: conditionFromLetter(fields[0] ?? '') };
}

function seeThroughPs(pid: number): SeenProcess | undefined {
  const line = ps(['-o', 'state=,lstart=', '-p', String(pid)]);
  if (line === undefined) return undefined;
  const [state = '', ...startTime] = line.trim().split(/\s+/);
  const command = ps(['eww', '-o', 'command=', '-p', String(pid)]);
  return {
    startTime: startTime.join(' '),
    condition: conditionFromLetter(state.charAt(0)),
    token: tokenIn(command, /\s/),
  };
}

function conditionFromLetter(letter: string): SeenProcess['condition'] {
  if (letter === 'Z' || letter === 'X') return 'zombie';
  return letter === 'T' || letter === 't' ? 'paused' : 'running';
}

function tokenIn(environment: string | undefined, separator: string | RegExp): string | undefined {
  const prefix = `${TOKEN_VARIABLE}=`;
  const entry = environment?.split(separator).find((text) => text.startsWith(prefix));
  return entry?.slice(prefix.length);
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Ended meanwhile, or of another user: not ours either way.
    return undefined;
  }
}

function ps(args: readonly string[]): string | undefined {
  try {
    const environment = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
    return execFileSync('ps', args, { encoding: 'utf8', env: environment, stdio: 'pipe' });
  } catch (error) {
    // ps ends with 1 when no process has the id.
    if ((error as { status?: number | null }).status === 1) return undefined;
    throw error;
  }
}
