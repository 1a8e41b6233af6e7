import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { RELEASE } from '../../../src/release.js';

/** On what it was measured, and what else the machine did. */
export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGB: number;
  readonly kernel: string;
  readonly node: string;
  readonly quorate: string;
  readonly etcd: string;
  /** Of the file system that holds the data, and how often a second it syncs a small append. */
  readonly fileSystem: string;
  readonly syncsPerSecond: number;
  /** Processes that wanted to run in the last minute, before the first slice. */
  readonly loadBefore: number;
}

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x01021994: 'tmpfs (nothing is ever synced)',
  0x794c7630: 'overlayfs',
};

export function machineOf(folder: string, etcd: string | undefined): Machine {
  const fileSystem = statfsSync(folder).type;
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGB: Math.round(totalmem() / 1e9),
    kernel: `${type()} ${release()}`,
    node: process.version,
    quorate: RELEASE,
    etcd: etcd ?? 'not on the PATH',
    fileSystem: FILE_SYSTEMS[fileSystem] ?? `0x${fileSystem.toString(16)}`,
    syncsPerSecond: syncsPerSecond(folder),
    loadBefore: loadavg()[0] ?? 0,
  };
}

const SYNC_BYTES = 4_096;
const SYNC_FOR_MS = 300;

function syncsPerSecond(folder: string): number {
  const file = join(folder, 'syncs');
  const handle = openSync(file, 'w');
  const bytes = Buffer.alloc(SYNC_BYTES, 1);
  const startedMs = performance.now();
  let syncs = 0;
  while (performance.now() - startedMs < SYNC_FOR_MS) {
    writeSync(handle, bytes);
    fdatasyncSync(handle);
    syncs++;
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  closeSync(handle);
  rmSync(file);
  return Math.round(syncs / seconds);
}
