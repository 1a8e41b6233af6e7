import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeRecord, encodeRecord } from '../../src/core/record.js';
import type { ApplyAnswer } from '../../src/io/peer.js';
import {
  bytes,
  createWorld,
  getOf,
  NO_BYTES,
  operationOf,
  placementOf,
  putOf,
  recordAt,
  versionAt,
  type OperationInput,
  type TestOperation,
  type World,
} from './fixture.js';
import { ScriptedPeer } from './scripted-peer.js';

const NODES = ['n1', 'n2', 'n3'].map((id) => ({ id, zone: 'a' }));
const TIMED_OUT: ApplyAnswer = { kind: 'failed', code: 'TIMED_OUT', message: 'no answer' };

interface Stage extends World {
  readonly peers: readonly [ScriptedPeer, ScriptedPeer, ScriptedPeer];
  run(operation: TestOperation): TestOperation;
}

function createStage(inFlight?: { maxOperations: number; maxBytes: number }): Stage {
  const peers = [new ScriptedPeer('n1'), new ScriptedPeer('n2'), new ScriptedPeer('n3')] as const;
  const world = createWorld({
    placement: placementOf(NODES, () => [0, 1, 2]),
    peerOf: (nodeId) => peers.find((peer) => peer.nodeId === nodeId) as ScriptedPeer,
    ...(inFlight === undefined ? {} : { inFlight }),
  });
  return Object.assign(world, {
    peers,
    run(operation: TestOperation) {
      world.coordinator.execute(operation);
      return operation;
    },
  });
}

function put(input?: OperationInput): TestOperation {
  return putOf('k', recordAt('k', 'v', 0), input);
}

test('random bytes for a record touch nothing, and the node goes on serving', () => {
  const stage = createStage();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (record) => {
      const { answers } = stage.run(putOf('k', record));
      expect(answers).toMatchObject([{ code: 'INVALID_ARGUMENT', outcome: 'none' }]);
      expect(answers[0]?.message).toMatch(/^record: /);
    }),
    { seed: 41, numRuns: 300 },
  );
  for (const { waiting } of stage.peers) expect(waiting).toEqual([]);
  stage.run(put());
  expect(stage.peers[0].waiting).toHaveLength(1);
});

test('a record cut short or with one bit changed is refused', () => {
  const stage = createStage();
  const record = recordAt('k', 'some value', 0);
  fc.assert(
    fc.property(fc.nat(record.length - 1), fc.nat(7), (at, bit) => {
      const changed = Uint8Array.from(record);
      changed[at] = (changed[at] as number) ^ (1 << bit);
      for (const bad of [changed, record.subarray(0, at)]) {
        expect(stage.run(putOf('k', bad)).answers).toMatchObject([{ code: 'INVALID_ARGUMENT' }]);
      }
    }),
    { seed: 42 },
  );
});

test.for<[string, TestOperation, RegExp]>([
  ['an empty key', operationOf('get', NO_BYTES, NO_BYTES), /^key: must not be empty/],
  [
    'a key that is too long',
    operationOf('get', new Uint8Array(4_097), NO_BYTES),
    /^key: 4097 bytes, the limit is 4096/,
  ],
  [
    'a value that is too large',
    putOf('k', recordAt('k', 'x'.repeat(1_048_577), 0)),
    /^value: 1048577 bytes, the limit is 1048576/,
  ],
  ['a record of another key', putOf('k', recordAt('j', 'v', 0)), /^record: fails its checksum/],
  [
    'what only a LINEARIZABLE round may write',
    putOf('k', recordAt('k', 'v', 0, { changed: versionAt(0) })),
    /^record: carries what only a LINEARIZABLE round/,
  ],
  [
    'a minVersion that is none',
    getOf('k', { minVersion: new Uint8Array(3) }),
    /^minVersion: 3 bytes, a version has 16/,
  ],
])('%s is refused by its field and bound', ([, operation, message]) => {
  const { answers } = createStage().run(operation);
  expect(answers).toMatchObject([{ code: 'INVALID_ARGUMENT', outcome: 'none' }]);
  expect(answers[0]?.message).toMatch(message);
});

test('the largest key and the largest value are taken', () => {
  const stage = createStage();
  const key = new Uint8Array(4_096).fill(255);
  const value = new Uint8Array(1_048_576);
  const record = encodeRecord(key, { version: versionAt(0), tombstone: false, value });
  expect(decodeRecord(record)?.value.length).toBe(value.length);
  stage.run(operationOf('put', key, record));
  expect(stage.peers[2].waiting).toHaveLength(1);
});

test('an operation that comes after its deadline is not begun', () => {
  const stage = createStage();
  const late = stage.run(put({ deadlineMs: 0 }));
  expect(late.answers).toMatchObject([{ code: 'TIMED_OUT', outcome: 'none' }]);
  expect(stage.peers[0].waiting).toEqual([]);
});

test('beyond its bound on operations the coordinator sheds, at once and without a trace', () => {
  const stage = createStage({ maxOperations: 2, maxBytes: 1_000_000 });
  stage.run(put());
  stage.run(getOf('k'));
  const shed = stage.run(put());
  expect(shed.answers).toMatchObject([{ code: 'OVERLOADED', outcome: 'none' }]);
  expect(stage.peers[0].waiting).toHaveLength(2);
  expect(stage.coordinator.counters).toMatchObject({ shed: 1, inFlight: 2 });
  stage.peers[0].answer({ kind: 'applied' });
  stage.peers[1].answer({ kind: 'applied' });
  expect(stage.coordinator.counters.inFlight).toBe(1);
  stage.run(put());
  expect(stage.coordinator.counters).toMatchObject({ shed: 1, inFlight: 2 });
});

test('beyond its bound on bytes it sheds what is large, but never the only one', () => {
  const stage = createStage({ maxOperations: 100, maxBytes: 100 });
  const record = recordAt('k', 'x'.repeat(200), 0);
  expect(stage.run(putOf('k', record)).answers).toEqual([]);
  expect(stage.run(putOf('k', record)).answers).toMatchObject([{ code: 'OVERLOADED' }]);
});

test('the node may be waited for to finish: what is under way is answered, what comes is refused', async () => {
  const stage = createStage();
  const begun = stage.run(put());
  let isDrained = false;
  const drained = stage.coordinator.drain(500).then(() => {
    isDrained = true;
    return undefined;
  });
  expect(stage.run(put()).answers).toMatchObject([{ code: 'UNAVAILABLE', outcome: 'none' }]);
  await stage.time.settle();
  expect(isDrained).toBe(false);
  stage.peers[0].answer({ kind: 'applied' });
  stage.peers[2].answer({ kind: 'applied' });
  expect(begun.answers).toMatchObject([{ code: undefined }]);
  await drained;
  expect(isDrained).toBe(true);
});

test('a drain ends when its grace has passed', async () => {
  const stage = createStage();
  stage.run(put());
  const drained = stage.coordinator.drain(50);
  await stage.time.advance(50);
  await drained;
  expect(stage.coordinator.counters.inFlight).toBe(1);
});

test('a peer is reached only while calls get to it, and one that is not of the cluster never', () => {
  const stage = createStage();
  const [, n2] = stage.peers;
  expect(['n2', 'n9'].map((id) => stage.coordinator.reaches(id))).toEqual([true, false]);
  n2.connected = false;
  expect(stage.coordinator.reaches('n2')).toBe(false);
});

test('a peer that keeps failing counts as unreachable until it answers again', async () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  for (let i = 0; i < 5; i++) {
    stage.run(put({ deadlineMs: Infinity }));
    n1.answer({ kind: 'applied' });
    n2.answer({ kind: 'applied' });
    await stage.time.advance(300);
    n3.answer(TIMED_OUT);
  }
  expect(stage.coordinator.tripped('n3')).toBe(true);
  stage.run(put({ deadlineMs: Infinity }));
  expect(n3.waiting).toEqual([]);
  expect(stage.run(put({ level: 'ALL', deadlineMs: Infinity })).answers).toMatchObject([
    { code: 'NO_QUORUM', outcome: 'none' },
  ]);
  // Half open, one write is the probe.
  await stage.time.advance(500);
  stage.run(put({ deadlineMs: Infinity }));
  stage.run(put({ deadlineMs: Infinity }));
  expect(n3.waiting).toHaveLength(1);
  n3.answer({ kind: 'applied' });
  expect(stage.coordinator.tripped('n3')).toBe(false);
  stage.run(put({ deadlineMs: Infinity }));
  expect(n3.waiting).toHaveLength(1);
});

test('pings open and close a breaker as well', () => {
  const { coordinator } = createStage();
  for (let i = 0; i < 5; i++) coordinator.pinged('n2', undefined);
  expect(coordinator.tripped('n2')).toBe(true);
  coordinator.pinged('n2', 1);
  expect(coordinator.tripped('n2')).toBe(false);
});

test('a peer that was asked late is not blamed for the time before', async () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  const read = () => {
    stage.run(getOf('k', { deadlineMs: Infinity }));
    n1.answer({ kind: 'absent' });
  };
  // Until no hedge is left.
  for (let i = 0; i < 10; i++) {
    read();
    await stage.time.advance(50);
    n2.answer({ kind: 'absent' });
    n3.answer({ kind: 'absent' });
  }
  for (let i = 0; i < 6; i++) {
    read();
    await stage.time.advance(1_000);
    const [first, second] = n2.waiting.length > 0 ? [n2, n3] : [n3, n2];
    first.answer({ kind: 'refused', code: 'OVERLOADED', message: 'busy' });
    second.answer(TIMED_OUT);
  }
  expect(stage.coordinator.tripped('n2')).toBe(false);
  expect(stage.coordinator.tripped('n3')).toBe(false);
});

test('reads go round a peer that hangs as soon as its silence is noticed, hedges or not', async () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  stage.coordinator.pinged('n2', 1);
  stage.coordinator.pinged('n3', 2);
  // More than may be hedged.
  for (let i = 0; i < 30; i++) {
    stage.run(getOf('k', { deadlineMs: Infinity }));
    n1.answer({ kind: 'absent' });
  }
  expect(n2.waiting).toHaveLength(30);
  await stage.time.advance(300);
  const hedged = n3.waiting.length;
  expect(hedged).toBeLessThan(30);
  const next = stage.run(getOf('k', { deadlineMs: Infinity }));
  n1.answer({ kind: 'absent' });
  expect(n2.waiting).toHaveLength(30);
  expect(n3.waiting).toHaveLength(hedged + 1);
  for (let i = 0; i <= hedged; i++) n3.answer({ kind: 'absent' });
  expect(next.answers).toMatchObject([{ code: undefined }]);
});

test('callers who give a peer no time do not make it look broken', async () => {
  const stage = createStage();
  for (let i = 0; i < 20; i++) {
    stage.run(put({ deadlineMs: stage.time.clock.monotonicMs() + 1 }));
    await stage.time.advance(10);
    for (const peer of stage.peers) peer.answer(TIMED_OUT);
  }
  expect(stage.coordinator.tripped('n2')).toBe(false);
});

test('the sweep runs only while something is under way', async () => {
  const stage = createStage();
  expect(stage.time.waiting).toBe(0);
  stage.run(put());
  expect(stage.time.waiting).toBe(1);
  stage.peers[0].answer({ kind: 'applied' });
  stage.peers[1].answer({ kind: 'applied' });
  await stage.time.advance(10);
  expect(stage.time.waiting).toBe(0);
});

test('explaining a key shows what every replica holds, reachable or not, and repairs nothing', async () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  n3.connected = false;
  const copies = stage.coordinator.explain(bytes('k'), 100);
  n1.answer({ kind: 'absent' });
  await stage.time.advance(110);
  expect(await copies).toMatchObject([
    { node: 'n1', answer: { kind: 'absent' } },
    { node: 'n2', answer: { kind: 'failed', code: 'TIMED_OUT' } },
    { node: 'n3', answer: { kind: 'unreachable' } },
  ]);
  expect(n1.waiting).toEqual([]);
  n2.answer({ kind: 'absent' });
  expect(stage.coordinator.counters.inFlight).toBe(0);
  await expect(stage.coordinator.explain(NO_BYTES, 100)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
});

test('what is answered is observed by the clock of the node', () => {
  const stage = createStage();
  stage.run(getOf('k', { level: 'ONE' }));
  const record = recordAt('k', 'v', 7);
  stage.peers[0].answer({ kind: 'found', header: record.subarray(0, 25), record });
  expect(stage.observed).toEqual([versionAt(7)]);
});

test('a record that was damaged on the wire is no answer', () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  n1.connected = false;
  const record = recordAt('k', 'value', 7);
  const damaged = Uint8Array.from(record);
  damaged[27] = 0;
  const read = stage.run(getOf('k'));
  n1.answer({ kind: 'failed', code: 'UNAVAILABLE', message: 'broken' });
  n2.answer({ kind: 'found', header: record.subarray(0, 25) });
  n3.answer({ kind: 'found', header: damaged.subarray(0, 25), record: damaged });
  expect(read.answers).toMatchObject([{ code: 'NO_QUORUM', outcome: 'none' }]);
  expect(read.answers[0]?.message).toContain('n3 refused (sent a record that fails its checksum)');
});

test('a peer that answers nothing holds no more than its share of memory; then it is owed what it misses', () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  const record = recordAt('k', 'x'.repeat(1_048_576), 0);
  for (let i = 0; i < 70; i++) {
    const { answers } = stage.run(putOf('k', record));
    n1.answer({ kind: 'applied' });
    n2.answer({ kind: 'applied' });
    expect(answers).toMatchObject([{ code: undefined }]);
  }
  expect(n3.waiting).toHaveLength(64);
  expect(stage.owed).toHaveLength(6);
});

test('whoever hears that one operation has timed out may cancel the next', async () => {
  const stage = createStage();
  const second = put({ deadlineMs: 20 });
  const first = put({ deadlineMs: 20 });
  first.onAnswer = (answer) => {
    first.answers.push(answer);
    stage.coordinator.cancel(second);
  };
  stage.run(first);
  stage.run(second);
  const third = stage.run(put({ deadlineMs: 20 }));
  await stage.time.advance(40);
  expect(first.answers).toMatchObject([{ code: 'TIMED_OUT' }]);
  expect(second.answers).toMatchObject([{ code: 'CANCELLED' }]);
  expect(third.answers).toMatchObject([{ code: 'TIMED_OUT' }]);
  expect(stage.coordinator.counters.inFlight).toBe(0);
  stage.coordinator.cancel(first);
  expect(first.answers).toHaveLength(1);
});

test('explaining is refused as anything else by a node that is full or stops', async () => {
  const stage = createStage({ maxOperations: 1, maxBytes: 1_000_000 });
  stage.run(put());
  await expect(stage.coordinator.explain(bytes('k'), 100)).rejects.toMatchObject({
    code: 'OVERLOADED',
  });
  void stage.coordinator.drain(0);
  await expect(stage.coordinator.explain(bytes('k'), 100)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  });
});

test('a quarantined node stamps nothing, so its versions are not ahead once its clock is right', async () => {
  const stage = createStage();
  stage.quarantined = true;
  await expect(stage.coordinator.stamp()).rejects.toMatchObject({
    code: 'QUARANTINED',
    outcome: 'none',
  });
  stage.quarantined = false;
  await expect(stage.coordinator.stamp()).resolves.toBeDefined();
});
