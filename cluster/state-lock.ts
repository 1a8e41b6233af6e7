import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { note } from '../cli/output.js';
import { seeProcess } from './own-process.js';
import { Problem } from './problem.js';

export const LOCK_FILE = 'cluster.lock';
const WAIT_MS = 120_000;
const TELL_AFTER_MS = 1_000;
const LOOK_EVERY_MS = 50;

/**
 * Runs `work` while no other run of this script works on the same folder. Waits for one that does, and takes over from one
 * that was killed.
 */
export async function withStateLock<T>(stateFolder: string, work: () => Promise<T>): Promise<T> {
  const file = join(stateFolder, LOCK_FILE);
  await acquire(stateFolder, file);
  try {
    return await work();
  } finally {
    // The folder itself may have been wiped.
    rmSync(file, { force: true });
  }
}

interface Owner {
  readonly pid: number;
  readonly startTime: string;
}

/** The lock is a link to a file that is already written: it appears whole or not at all. */
async function acquire(stateFolder: string, file: string): Promise<void> {
  const me: Owner = { pid: process.pid, startTime: seeProcess(process.pid)?.startTime ?? '' };
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  mkdirSync(stateFolder, { recursive: true });
  writeFileSync(draft, JSON.stringify(me));
  try {
    const startedAtMs = performance.now();
    let told = false;
    while (!tryLink(draft, file)) {
      const owner = readOwner(file);
      if (owner === undefined) continue;
      if (!isAlive(owner)) {
        takeAside(file, owner);
        continue;
      }
      const waitedMs = performance.now() - startedAtMs;
      if (waitedMs > WAIT_MS) {
        throw new Problem(
          `Another run of this script (process ${owner.pid}) is still at work on ${stateFolder}. Wait for it, or end it.`,
        );
      }
      if (!told && waitedMs > TELL_AFTER_MS) {
        note(`Waiting for another run of this script (process ${owner.pid}) ...`);
        told = true;
      }
      await sleep(LOOK_EVERY_MS);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

function isAlive(owner: Owner): boolean {
  const seen = seeProcess(owner.pid);
  return seen?.startTime === owner.startTime && seen.condition !== 'zombie';
}

function tryLink(draft: string, file: string): boolean {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Moves a dead owner's lock away. Only one of several waiting runs can; a lock that is not the dead one's goes back. */
function takeAside(file: string, dead: Owner): void {
  const aside = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const moved = readOwner(aside);
  if (moved?.pid !== dead.pid || moved.startTime !== dead.startTime) linkSync(aside, file);
  rmSync(aside);
}

function readOwner(file: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Owner;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    // A crash of the machine can leave it empty; whoever wrote it is gone then.
    if (error instanceof SyntaxError) return { pid: 0, startTime: '' };
    throw error;
  }
}
