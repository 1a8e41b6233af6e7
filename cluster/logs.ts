import { setTimeout as sleep } from 'node:timers/promises';
import { writeData } from '../cli/output.js';
import { logFile, selectPlaces } from './layout.js';
import { LogReader, mergeLogs, type LogLine } from './log-reader.js';
import { existingState, type Workplace } from './workplace.js';

const LOOK_EVERY_MS = 200;

export interface LogOptions {
  /** How many of the last lines are shown, of all logs together. */
  readonly lines: number;
  /** Goes on with what is written, until this process is ended. */
  readonly follow: boolean;
}

/** Prints the logs of some nodes, or of all, as one. */
export async function showLogs(
  at: Workplace,
  ids: readonly string[],
  { lines, follow }: LogOptions,
): Promise<void> {
  const readers = selectPlaces(existingState(at), ids).map(
    ({ id }) => new LogReader(id, logFile(at.stateFolder, id)),
  );
  const readAll = (): LogLine[] => mergeLogs(readers.map((reader) => reader.read()));
  const past = readAll();
  await print(past.slice(Math.max(0, past.length - lines)));
  if (!follow) return;
  for (;;) {
    await sleep(LOOK_EVERY_MS);
    await print(readAll());
  }
}

async function print(lines: readonly LogLine[]): Promise<void> {
  await writeData(lines.map(({ text }) => `${text}\n`).join(''));
}
