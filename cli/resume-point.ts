import { readFileSync, renameSync, rmSync, writeFileSync, type Stats } from 'node:fs';
import * as v from 'valibot';
import { CommandFailure } from './failure.js';

/** Where an interrupted import goes on. The record is counted from the first of the input, rejected ones included. */
export interface ResumePoint {
  readonly input: InputIdentity;
  /** What decides which key and value a record gives: changed between two runs, the halves would not fit. */
  readonly plan: string;
  /** So many records are acknowledged or rejected. */
  readonly records: number;
  /** They end at this byte of the input. */
  readonly byte: number;
  readonly rejected: number;
}

/** What tells one input from another. Of standard input nothing is known. */
export interface InputIdentity {
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const schema = v.strictObject({
  format: v.literal(1),
  input: v.object({ path: v.string(), bytes: v.number(), modifiedMs: v.number() }),
  plan: v.string(),
  records: count,
  byte: count,
  rejected: count,
});

export function identityOf(path: string, stats: Stats | undefined): InputIdentity {
  return { path, bytes: stats?.size ?? 0, modifiedMs: Math.floor(stats?.mtimeMs ?? 0) };
}

/** Undefined when there is no such file. Refuses one that is damaged, or of another input or plan. */
export function readResumePoint(
  file: string,
  input: InputIdentity,
  plan: string,
): ResumePoint | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const point = parsePoint(text);
  if (point === undefined) throw refusal(file, 'is no resume point');
  if (point.input.bytes !== input.bytes || point.input.modifiedMs !== input.modifiedMs) {
    throw refusal(file, `is of another ${point.input.path}, or of one that has changed since`);
  }
  if (point.plan !== plan) {
    throw refusal(file, `was written with other options (${point.plan}; now ${plan})`);
  }
  return point;
}

/** Replaces the file as one step, so that it is whole at every moment. */
export function writeResumePoint(file: string, point: ResumePoint): void {
  const { input, plan, records, byte, rejected } = point;
  const content = { format: 1, input, plan, records, byte, rejected };
  writeFileSync(`${file}.new`, `${JSON.stringify(content)}\n`);
  renameSync(`${file}.new`, file);
}

export function removeResumePoint(file: string): void {
  rmSync(file, { force: true });
}

function parsePoint(text: string): ResumePoint | undefined {
  try {
    const result = v.safeParse(schema, JSON.parse(text));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

function refusal(file: string, problem: string): CommandFailure {
  return new CommandFailure(
    1,
    'RESUME_REFUSED',
    `the resume file ${file} ${problem}`,
    'Start over with --restart, or name another file with --resume-file.',
  );
}
