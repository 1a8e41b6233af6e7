import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { versionOf } from '../../src/core/record.js';
import type { PrepareAnswer, PrepareCall } from '../../src/io/peer.js';
import { closeGate, createFaultyDisk, type FaultyDisk } from './faulty-disk.js';
import {
  applyCall,
  applyOne,
  bytes,
  openTestReplica,
  prepareOne,
  recordOf,
  START_WALL_MS,
  type TestReplica,
} from './fixtures.js';
import { atOf, ballotAt, entriesIn, KEYS } from './promise-fixtures.js';
import { crash } from './tree-fixtures.js';

interface TestPrepare extends PrepareCall {
  readonly answers: PrepareAnswer[];
}

function prepareCall(key: Uint8Array, atMs: number): TestPrepare {
  const none = new Uint8Array(0);
  const answers: PrepareAnswer[] = [];
  return {
    key,
    keyHash: hash32(key),
    ballot: ballotAt(atMs),
    above: none,
    known: none,
    deadlineMs: Number.POSITIVE_INFINITY,
    placementVersion: 1,
    traceparent: none,
    answers,
    onPrepared: (_, answer) => void answers.push(answer),
  };
}

async function open(disk: FaultyDisk): Promise<TestReplica> {
  const node = await openTestReplica(disk, { fenceLagMs: 0 });
  await node.time.advance(10_000);
  return node;
}

/** Of each key: the ballot that keeps out more than the committed fence does, and whether what is held is in doubt; 0: none. */
function enforced({ replica }: TestReplica): readonly (readonly [number, boolean])[] {
  return KEYS.map((key) => {
    const keyHash = hash32(key);
    const ballot = atOf(replica.promises.of(key, keyHash));
    if (ballot <= atOf(replica.fences.committed(partitionOf(keyHash)))) return [0, false];
    return [ballot, replica.promises.judgeHeld({ key, keyHash }) !== undefined];
  });
}

async function heldAt(node: TestReplica, key: Uint8Array): Promise<number> {
  const page = await node.replica.whileRefilling.scan(
    {
      gte: key,
      lt: Buffer.concat([key, Buffer.of(0)]),
      reverse: false,
      limit: 1,
      maxBytes: 1_000,
      partitions: new Uint8Array(32).fill(0xff),
      whole: new Uint8Array(32).fill(0xff),
      asDigest: false,
      placementVersion: 1,
    },
    Number.POSITIVE_INFINITY,
  );
  if (page.kind !== 'page') throw new Error(page.message);
  const record = page.entries[0]?.record;
  return record === undefined ? 0 : versionOf(record).wallMs - START_WALL_MS;
}

async function commitFence(node: TestReplica, key: Uint8Array, atMs: number): Promise<void> {
  const { replica, time } = node;
  const request = { partition: partitionOf(hash32(key)), fence: ballotAt(atMs) };
  const done = (async () => {
    const promised = await replica.fences.promise(request);
    if (promised.kind !== 'reply') return;
    const sealed = await replica.fences.seal({ ...request, mark: promised.mark });
    if (sealed.kind === 'reply') {
      await replica.fences.commit({ ...request, promised: request.fence });
    }
  })();
  await time.settle();
  await done;
}

/** It forgets, takes a copy from below a promise of another replica, and takes over that promise. */
async function forget(node: TestReplica, key: Uint8Array, atMs: number): Promise<void> {
  const { replica, time } = node;
  const { promiseAnswers } = replica;
  promiseAnswers.setAside();
  await applyOne(node, key, recordOf(key, atMs - 1), { source: 'copy' });
  const adopted = promiseAnswers.adopt([{ key, ballot: ballotAt(atMs) }]).catch(() => {});
  await time.settle();
  await adopted;
}

type Event =
  | { readonly kind: 'group'; readonly calls: readonly (readonly [0 | 1, number, number])[] }
  | { readonly kind: 'fence' | 'forget'; readonly key: number; readonly atMs: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'fault'; readonly fault: 'written' | 'lost' | 'put' };

const place = fc.nat({ max: KEYS.length - 1 });
const moment = fc.integer({ min: 1, max: 60 });
const group: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('group' as const),
  calls: fc.array(fc.tuple(fc.constantFrom(0 as const, 1 as const), place, moment), {
    minLength: 1,
    maxLength: 6,
  }),
});
const quiet: readonly fc.Arbitrary<Event>[] = [
  group,
  group,
  group,
  fc.record({
    kind: fc.constantFrom('fence' as const, 'forget' as const),
    key: place,
    atMs: moment,
  }),
  fc.constant({ kind: 'restart' as const }),
];
const failing: fc.Arbitrary<Event> = fc.record({
  kind: fc.constant('fault' as const),
  fault: fc.constantFrom('written' as const, 'lost' as const, 'put' as const),
});

/** What was answered, and the node that answered it. */
class Run {
  /** Of each key the highest ballot that was answered as promised, and the highest that was ever asked for. */
  readonly answered = KEYS.map(() => 0);
  readonly asked = KEYS.map(() => 0);

  private constructor(
    readonly disk: FaultyDisk,
    public node: TestReplica,
  ) {}

  static async begin(): Promise<Run> {
    const disk = createFaultyDisk();
    return new Run(disk, await open(disk));
  }

  async restart(): Promise<void> {
    await crash(this.disk);
    this.mendDisk();
    this.node = await open(this.disk);
  }

  mendDisk(): void {
    this.disk.failNextCommit = undefined;
    this.disk.failNextPut = false;
  }

  async take(event: Event): Promise<void> {
    if (event.kind === 'group') await this.#group(event.calls);
    else if (event.kind === 'fault') {
      if (event.fault === 'put') this.disk.failNextPut = true;
      else this.disk.failNextCommit = event.fault;
    } else if (event.kind === 'fence') {
      await commitFence(this.node, KEYS[event.key] as Buffer, event.atMs);
    } else if (event.kind === 'forget') {
      this.asked[event.key] = Math.max(this.asked[event.key] as number, event.atMs);
      await forget(this.node, KEYS[event.key] as Buffer, event.atMs);
    } else await this.restart();
  }

  async #group(calls: readonly (readonly [0 | 1, number, number])[]): Promise<void> {
    const { replica, time } = this.node;
    const prepares: (readonly [number, number, TestPrepare])[] = [];
    for (const [kind, at, ms] of calls) {
      const key = KEYS[at] as Buffer;
      if (kind === 0) {
        const call = prepareCall(key, ms);
        this.asked[at] = Math.max(this.asked[at] as number, ms);
        prepares.push([at, ms, call]);
        replica.prepare(call, 0);
      } else replica.apply(applyCall(key, recordOf(key, ms), { source: 'accept' }), 0);
    }
    await time.settle();
    for (const [at, ms, { answers }] of prepares) {
      if (answers[0]?.kind !== 'promised') continue;
      this.answered[at] = Math.max(this.answered[at] as number, ms);
    }
  }
}

describe('promises on disk', () => {
  test('are after a crash what they were before it, in doubt or not', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...quiet), { maxLength: 40 }), async (events) => {
        const run = await Run.begin();
        for (const event of events) {
          const before = enforced(run.node);
          await run.take(event);
          if (event.kind === 'restart') expect(enforced(run.node)).toEqual(before);
        }
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  test('keep out after crashes and failing commits whatever an answered one keeps out, and nothing that none was asked for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...quiet, failing), { maxLength: 60 }), async (events) => {
        const run = await Run.begin();
        for (const event of events) {
          await run.take(event);
          if (event.kind !== 'restart') continue;
          const { node, answered, asked } = run;
          for (const [i, [ballot]] of enforced(node).entries()) {
            const key = KEYS[i] as Buffer;
            const fence = atOf(node.replica.fences.committed(partitionOf(hash32(key))));
            const passedTo = Math.max(await heldAt(node, key), fence);
            expect(Math.max(ballot, passedTo)).toBeGreaterThanOrEqual(answered[i] as number);
            expect(ballot).toBeLessThanOrEqual(asked[i] as number);
            if (ballot > 0) expect(ballot).toBeGreaterThan(passedTo);
          }
        }
      }),
      { numRuns: 100, seed: 2 },
    );
  });

  test('are all gone from it once each has been fulfilled, whatever failed in between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...quiet, failing), { maxLength: 60 }), async (events) => {
        const run = await Run.begin();
        for (const event of events) await run.take(event);
        run.mendDisk();
        await run.node.time.advance(10_000);
        for (const key of KEYS) {
          const applied = await applyOne(run.node, key, recordOf(key, 100), { source: 'accept' });
          expect(applied).toMatchObject({ kind: 'applied' });
        }
        const last = bytes('last');
        await applyOne(run.node, last, recordOf(last, 1));
        expect(run.node.replica.promises.size).toBe(0);
        expect(await entriesIn(run.disk.store)).toEqual([]);
      }),
      { numRuns: 100, seed: 3 },
    );
  });

  test('that a failed commit has raised are kept as they were at least, whatever follows it', async () => {
    for (const fault of ['lost', 'written'] as const) {
      const disk = createFaultyDisk();
      const node = await open(disk);
      const [key, other] = KEYS as [Buffer, Buffer];
      await prepareOne(node, key, ballotAt(10));
      disk.failNextCommit = fault;
      expect(await prepareOne(node, key, ballotAt(20))).toMatchObject({ code: 'STORE_FAILED' });
      for (const ms of [1, 2, 3]) await applyOne(node, other, recordOf(other, ms));
      await crash(disk);
      const after = await open(disk);
      expect(enforced(after)[0]).toEqual([20, false]);
      expect(await entriesIn(disk.store)).toHaveLength(1);
    }
  });

  test('that a batch did not take come with a later one, and stay', async () => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    const [key, other] = KEYS as [Buffer, Buffer];
    disk.failNextPut = true;
    expect(await prepareOne(node, key, ballotAt(10))).toMatchObject({ code: 'STORE_FAILED' });
    expect(await prepareOne(node, key, ballotAt(20))).toMatchObject({ kind: 'promised' });
    for (const ms of [1, 2, 3]) await applyOne(node, other, recordOf(other, ms));
    await crash(disk);
    expect(enforced(await open(disk))[0]).toEqual([20, false]);
  });

  test('that a fence has passed go from memory at once, and from the disk with the next commit', async () => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    const [key, other] = KEYS as [Buffer, Buffer];
    await prepareOne(node, key, ballotAt(10));
    await commitFence(node, key, 10);
    expect(node.replica.promises.size).toBe(0);
    await applyOne(node, other, recordOf(other, 1));
    expect(await entriesIn(disk.store)).toEqual([]);
  });

  test('that a crash has taken are those of the batch that was under way, and nobody was told of them', async () => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    const [key] = KEYS as [Buffer];
    const first = prepareCall(key, 10);
    node.replica.prepare(first, 0);
    await node.time.settle();
    closeGate(disk);
    const second = prepareCall(key, 20);
    node.replica.prepare(second, 0);
    await node.time.settle();
    await crash(disk);
    disk.gate = undefined;
    const after = await open(disk);
    expect([first.answers.length, second.answers.length]).toEqual([1, 0]);
    expect(enforced(after)[0]).toEqual([10, false]);
  });
});
