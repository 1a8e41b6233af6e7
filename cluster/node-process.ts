import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { logFile, serveArguments, type Layout, type NodePlace } from './layout.js';
import {
  conditionOf,
  seeProcess,
  signalOwn,
  TOKEN_VARIABLE,
  type ProcessIdentity,
} from './own-process.js';
import { Problem } from './problem.js';

/** As seen from dist/cluster/. */
const KVCTL_PATH = fileURLToPath(new URL('../cli/kvctl.js', import.meta.url));
/** A log that is longer at a start is put aside as `n1.log.1`, in place of the one that was put aside before. */
const MAX_LOG_BYTES = 32 * 1024 * 1024;
/** Longer than the node takes to finish what is under way (`--grace-ms`, 10 s). */
const STOP_GRACE_MS = 15_000;
const KILL_GRACE_MS = 5_000;
const LOOK_EVERY_MS = 25;

export interface StartedNode {
  readonly place: NodePlace;
  readonly identity: ProcessIdentity;
  readonly child: ChildProcess;
  /** Where the log of this run begins. */
  readonly logOffset: number;
}

/** Starts a node that outlives this process, with its log as only output. Says nothing of whether it comes to serve. */
export function startNodeProcess(
  layout: Layout,
  place: NodePlace,
  stateFolder: string,
): StartedNode {
  const token = randomBytes(16).toString('hex');
  const file = logFile(stateFolder, place.id);
  mkdirSync(stateFolder, { recursive: true });
  const logOffset = prepareLog(file);
  const log = openSync(file, 'a');
  try {
    const args = serveArguments(KVCTL_PATH, layout, place, stateFolder);
    const child = spawn(process.execPath, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, [TOKEN_VARIABLE]: token },
    });
    // What cannot be started has no process id, and is told below.
    child.once('error', () => {});
    child.unref();
    const { pid } = child;
    const seen = pid === undefined ? undefined : seeProcess(pid);
    if (pid === undefined || seen === undefined) {
      throw new Problem(`${place.id} could not be started with ${process.execPath}.`);
    }
    return { place, identity: { pid, startTime: seen.startTime, token }, child, logOffset };
  } finally {
    closeSync(log);
  }
}

/** SIGTERM, and SIGKILL when it has not ended within the grace. A paused process hears SIGTERM once it is resumed. */
export async function stopProcess(
  identity: ProcessIdentity,
): Promise<'stopped' | 'killed' | 'was gone'> {
  if (signalOwn(identity, 'SIGTERM') === 'gone') return 'was gone';
  signalOwn(identity, 'SIGCONT');
  if (await hasEnded(identity, STOP_GRACE_MS)) return 'stopped';
  await killProcess(identity);
  return 'killed';
}

/** SIGKILL: the process gets no chance to finish anything. */
export async function killProcess(identity: ProcessIdentity): Promise<'killed' | 'was gone'> {
  if (signalOwn(identity, 'SIGKILL') === 'gone') return 'was gone';
  if (await hasEnded(identity, KILL_GRACE_MS)) return 'killed';
  throw new Problem(
    `Process ${identity.pid} is still there ${KILL_GRACE_MS / 1_000} s after SIGKILL: it waits for a disk. Look at the machine's disks (\`dmesg\`).`,
  );
}

/** The first place whose port another process listens on. */
export async function findTakenPort(places: readonly NodePlace[]): Promise<NodePlace | undefined> {
  const taken = await Promise.all(places.map(isTaken));
  return places.find((_, index) => taken[index]);
}

function isTaken({ host, port }: NodePlace): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(true);
      else reject(new Problem(`Port ${port} of ${host} cannot be listened on: ${error.message}.`));
    });
    server.listen(port, host, () => server.close(() => resolve(false)));
  });
}

async function hasEnded(identity: ProcessIdentity, withinMs: number): Promise<boolean> {
  const giveUpAtMs = performance.now() + withinMs;
  while (conditionOf(identity, seeProcess(identity.pid)) !== 'gone') {
    if (performance.now() > giveUpAtMs) return false;
    await sleep(LOOK_EVERY_MS);
  }
  return true;
}

function prepareLog(file: string): number {
  const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (bytes <= MAX_LOG_BYTES) return bytes;
  renameSync(file, `${file}.1`);
  return 0;
}
