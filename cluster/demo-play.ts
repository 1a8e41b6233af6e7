import { setTimeout as sleep } from 'node:timers/promises';
import { formatCount } from '../cli/durations.js';
import { renderTable } from '../cli/output.js';
import { KvError } from '../src/core/errors.js';
import type { VerifySummaryReport } from '../src/wire/repair-reports.js';
import type { UnaryClient } from '../src/wire/unary-client.js';
import { Problem } from './problem.js';

/** Written at first; of these, written anew during the cut; and added during the cut. */
const FIRST = 200;
const ANEW = 50;
const ADDED = 100;
const ALL = FIRST + ADDED;
const MISSED = ANEW + ADDED;

/** A step that takes longer than this fails. Together they end within two minutes, whatever happens. */
const STEP_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 50;
/** Progress is shown in so many lines at most each second. */
const LINE_EVERY_MS = 500;

export interface DemoNode {
  readonly id: string;
  readonly client: UnaryClient;
  /** The same, for questions that are asked again when they take long. */
  readonly impatient: UnaryClient;
}

export interface Demo {
  /** Three of them. */
  readonly nodes: readonly DemoNode[];
  /** Nobody else's keys begin with it. */
  readonly prefix: string;
  readonly cut: (id: string) => Promise<void>;
  readonly heal: () => Promise<void>;
  readonly say: (line: string) => void;
  /** Aborted: it stops at the next step. */
  readonly signal: AbortSignal;
}

/** What one node holds of the keys. */
export interface Holding {
  readonly node: string;
  readonly upToDate: number;
  readonly old: number;
  readonly missing: number;
}

/** Tells the story of a network partition in one screen. Throws a Problem when a step does not come about in time. */
export async function play(demo: Demo): Promise<void> {
  const { nodes, say } = demo;
  const [n1, n2, n3] = nodes as readonly [DemoNode, DemoNode, DemoNode];
  say('Three nodes keep a copy of every key each.');
  say('A write is done when two of them have it on disk.\n');

  const expected = new Map<string, string>();
  await write(demo, expected, 0, FIRST, 'first');
  await until(demo, `all nodes have ${FIRST} keys`, async () =>
    (await holdings(demo, expected)).every(({ upToDate }) => upToDate === FIRST),
  );
  say(`1. ${FIRST} keys are written.\n`);
  say(holdingTable(await holdings(demo, expected)));

  const cutAtMs = performance.now();
  await demo.cut(n3.id);
  await until(demo, `both sides of the cut give each other up`, async () => {
    const given = [n1, n2].flatMap((node) => [givesUp(node, n3, demo), givesUp(n3, node, demo)]);
    return (await Promise.all(given)).every(Boolean);
  });
  say(`2. ${n3.id} is cut off. After ${seconds(cutAtMs)} the others have given it up, and go on.`);
  say(
    `   ${ANEW} of the keys are written anew, ${ADDED} are added. ${n3.id} hears nothing of that:\n`,
  );
  await write(demo, expected, 0, ANEW, 'second');
  await write(demo, expected, FIRST, ADDED, 'second');
  await until(demo, 'what was missed is noted', async () => (await owedTo(demo, n3.id)) >= MISSED);
  const owed = await owedTo(demo, n3.id);
  say(holdingTable(await holdings(demo, expected)));
  const key = keyOf(demo, 0);
  const reads = [
    { through: n1.id, at: 'QUORUM', answer: await read(n1, key, 'QUORUM'), why: '' },
    {
      through: n3.id,
      at: 'ONE',
      answer: await read(n3, key, 'ONE'),
      why: 'its own copy, as asked for',
    },
    {
      through: n3.id,
      at: 'QUORUM',
      answer: await readWithoutWaiting(n3, key, demo),
      why: 'rather than an old value',
    },
  ];
  say(`   What a key that was written anew reads as:\n`);
  say(indented(renderTable(READ_COLUMNS, reads)));

  await demo.heal();
  const healedAtMs = performance.now();
  say(`3. The network is whole again. Nobody reads these keys; ${n1.id} and ${n2.id} remember`);
  say(`   ${formatCount(owed)} that ${n3.id} has missed, and all nodes compare what they hold.\n`);
  let shownAtMs = -Infinity;
  await until(demo, `${n3.id} has all keys`, async () => {
    const { upToDate } = await holdingOf(n3, demo, expected);
    const isDone = upToDate === ALL;
    if (isDone || performance.now() - shownAtMs > LINE_EVERY_MS) {
      shownAtMs = performance.now();
      say(
        `   after ${seconds(healedAtMs).padStart(6)}  ${n3.id} is up to date in ${upToDate} of ${ALL} keys`,
      );
    }
    return isDone;
  });
  await until(demo, 'no hints are owed', async () => (await owedTo(demo, n3.id)) === 0);
  say('');
  say(holdingTable(await holdings(demo, expected)));
  const verdict = await n1.client.verify({ onProgress: () => {}, onDifference: () => {} });
  say(`   ${verdictText(verdict)}\n`);
}

/** What `kvctl verify` would say, in a line. */
function verdictText({ differing, compared, partitions }: VerifySummaryReport): string {
  if (differing > 0) return `All copies of all keys were compared: ${differing} differ.`;
  return compared === partitions
    ? 'All copies of all keys were compared: they are equal.'
    : 'Not all copies could be compared yet.';
}

/** What the keys are on `entries`, where `expected` is the newest of each. */
export function compare(
  node: string,
  entries: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
  expected: ReadonlyMap<string, string>,
): Holding {
  const held = new Map(entries.map(({ key, value }) => [textOf(key), textOf(value)]));
  let upToDate = 0;
  let old = 0;
  for (const [key, value] of expected) {
    if (held.get(key) === value) upToDate++;
    else if (held.has(key)) old++;
  }
  return { node, upToDate, old, missing: expected.size - upToDate - old };
}

/** A column a node; what is 0 everywhere is left out. */
export function holdingTable(all: readonly Holding[]): string {
  const rows = [
    { what: 'up to date', count: ({ upToDate }: Holding) => upToDate },
    { what: 'old values', count: ({ old }: Holding) => old },
    { what: 'missing', count: ({ missing }: Holding) => missing },
  ].filter(({ what, count }) => what === 'up to date' || all.some((each) => count(each) > 0));
  const columns = all.map((holding) => ({
    title: holding.node,
    align: 'right' as const,
    cell: ({ count }: (typeof rows)[number]) => formatCount(count(holding)).padStart(5),
  }));
  return indented(renderTable([{ title: '', cell: ({ what }) => what }, ...columns], rows));
}

interface Read {
  readonly through: string;
  readonly at: string;
  readonly answer: string;
  readonly why: string;
}

const READ_COLUMNS = [
  { title: 'through', cell: ({ through }: Read) => through },
  { title: 'at', cell: ({ at }: Read) => at },
  { title: 'answer', cell: ({ answer }: Read) => answer },
  { title: '', cell: ({ why }: Read) => why },
];

async function write(
  { nodes, prefix, signal }: Demo,
  expected: Map<string, string>,
  from: number,
  count: number,
  value: string,
): Promise<void> {
  refuseAborted(signal);
  const { client } = nodes[0] as DemoNode;
  const keys = Array.from({ length: count }, (_, at) => keyOf({ prefix }, from + at));
  const results = await client.batch(
    keys.map((key) => ({ kind: 'put', key: Buffer.from(key), value: Buffer.from(value) })),
  );
  const failure = results.find(({ code }) => code !== undefined);
  if (failure !== undefined) throw new Problem(`A write failed: ${failure.message}`);
  for (const key of keys) expected.set(key, value);
}

/** At QUORUM. A circuit breaker lets a request through now and then, which waits in vain: then it is asked again. */
async function readWithoutWaiting(
  { id, impatient }: DemoNode,
  key: string,
  demo: Demo,
): Promise<string> {
  let answer = '';
  await until(demo, `${id} answers at once`, async () => {
    answer = await read({ client: impatient }, key, 'QUORUM');
    return answer !== 'refused: TIMED_OUT';
  });
  return answer;
}

async function read(
  { client }: Pick<DemoNode, 'client'>,
  key: string,
  level: 'ONE' | 'QUORUM',
): Promise<string> {
  try {
    const { value } = await client.get(Buffer.from(key), { consistency: level });
    return textOf(value);
  } catch (error) {
    if (error instanceof KvError) return `refused: ${error.code}`;
    throw error;
  }
}

function holdings(demo: Demo, expected: ReadonlyMap<string, string>): Promise<Holding[]> {
  return Promise.all(demo.nodes.map((node) => holdingOf(node, demo, expected)));
}

/** At ONE a node answers from its own copy, and mends nothing. */
async function holdingOf(
  { id, client }: DemoNode,
  { prefix }: Demo,
  expected: ReadonlyMap<string, string>,
): Promise<Holding> {
  const page = await client.scan({
    prefix: Buffer.from(prefix),
    consistency: 'ONE',
    limit: 2 * ALL,
  });
  return compare(id, page.entries, expected);
}

/** Whether the one does not even ask the other any more. */
async function givesUp(one: DemoNode, other: DemoNode, demo: Demo): Promise<boolean> {
  try {
    const { replicas } = await one.impatient.explain(Buffer.from(keyOf(demo, 0)));
    return replicas.some(({ node, result }) => node === other.id && result === 'unreachable');
  } catch (error) {
    // It waits for an answer that does not come.
    if (error instanceof KvError) return false;
    throw error;
  }
}

async function owedTo({ nodes }: Demo, nodeId: string): Promise<number> {
  const reports = await Promise.all(nodes.map(({ client }) => client.status()));
  return reports
    .flatMap(({ hints }) => hints.owed)
    .filter(({ target }) => target === nodeId)
    .reduce((sum, { keys }) => sum + keys, 0);
}

async function until(demo: Demo, what: string, holds: () => Promise<boolean>): Promise<void> {
  const giveUpAtMs = performance.now() + STEP_WITHIN_MS;
  for (;;) {
    refuseAborted(demo.signal);
    if (await holds()) return;
    if (performance.now() > giveUpAtMs) {
      throw new Problem(
        `Not within ${STEP_WITHIN_MS / 1_000} s: ${what}. All is put back as it was.`,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
}

function refuseAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Problem('Interrupted. All is put back as it was.');
}

function keyOf({ prefix }: Pick<Demo, 'prefix'>, at: number): string {
  return `${prefix}${String(at).padStart(3, '0')}`;
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1_000).toFixed(1)} s`;
}

function indented(table: string): string {
  return table.replaceAll(/^(?=.)/gm, '     ');
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
