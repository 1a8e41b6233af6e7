import { afterEach, describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import type { Rumour } from '../../src/core/membership.js';
import { headerOf } from '../../src/core/record.js';
import { systemClock } from '../../src/io/clock.js';
import type {
  ApplyAnswer,
  ApplyCall,
  ApplySource,
  Lives,
  PrepareAnswer,
  PrepareCall,
  ReadAnswer,
  ReadCall,
  ReplicaScan,
} from '../../src/io/peer.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers } from '../../src/io/timers.js';
import { InjectedFaults } from '../../src/wire/link-faults.js';
import { createPeerLink, type PeerLink, type PeerLinkOptions } from '../../src/wire/peer-link.js';
import {
  recordOf,
  startFakeNode,
  text,
  until,
  version,
  welcomeOf,
  type FakeNode,
  type FakeNodeOptions,
} from './fake-node.js';

const PING = { from: 'n9', rumours: [] };

const EMPTY = new Uint8Array(0);

class Attempt implements ApplyCall, ReadCall {
  readonly keyHash: number;
  readonly placementVersion = 7;
  readonly traceparent = new Uint8Array(25);
  readonly applied: [number, ApplyAnswer][] = [];
  readonly reads: [number, ReadAnswer][] = [];

  constructor(
    readonly key: Uint8Array,
    readonly record: Uint8Array = EMPTY,
    timeoutMs = 5_000,
    readonly source: ApplySource = 'write',
    readonly fence: Uint8Array = EMPTY,
    readonly deadlineMs = systemClock.monotonicMs() + timeoutMs,
  ) {
    this.keyHash = hash32(key);
  }

  onApplied(slot: number, answer: ApplyAnswer): void {
    this.applied.push([slot, answer]);
  }

  onRead(slot: number, answer: ReadAnswer): void {
    this.reads.push([slot, answer]);
  }
}

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function link(address: string, options: Partial<PeerLinkOptions> = {}): PeerLink {
  const opened = createPeerLink({
    nodeId: 'n1',
    address,
    selfId: 'n2',
    facts: welcomeOf(),
    limits: DEFAULT_LIMITS,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    ...options,
  });
  closers.unshift(() => opened.close(0));
  return opened;
}

async function node(options: FakeNodeOptions = {}): Promise<FakeNode> {
  const started = await startFakeNode(options);
  closers.push(() => started.server.close(100));
  return started;
}

async function pair(
  options: Partial<PeerLinkOptions> = {},
  nodeOptions: FakeNodeOptions = {},
): Promise<{ peer: PeerLink; remote: FakeNode }> {
  const remote = await node(nodeOptions);
  const peer = link(remote.endpoint, options);
  await until(() => peer.connected);
  return { peer, remote };
}

describe('a replica over the wire', () => {
  test('applies a record as it was given', async () => {
    const { peer, remote } = await pair();
    const attempt = new Attempt(text('k'), recordOf('k', 'v', 5));
    peer.apply(attempt, 2);
    expect(attempt.applied).toEqual([]);
    await until(() => attempt.applied.length > 0);
    expect(attempt.applied).toEqual([[2, { kind: 'applied' }]]);
    expect(remote.replica.applied[0]).toMatchObject({
      key: text('k'),
      keyHash: hash32(text('k')),
      record: attempt.record,
      source: 'write',
      placementVersion: 7,
      traceparent: Buffer.alloc(25),
    });
  });

  test('says what it keeps instead', async () => {
    const { peer, remote } = await pair();
    const newer = recordOf('k', 'newer', 9);
    remote.replica.records.set('k', newer);
    const attempt = new Attempt(text('k'), recordOf('k', 'older', 5), 5_000, 'copy');
    peer.apply(attempt, 0);
    await until(() => attempt.applied.length > 0);
    expect(attempt.applied).toEqual([[0, { kind: 'kept', header: Buffer.from(headerOf(newer)) }]]);
    expect(remote.replica.applied[0]?.source).toBe('copy');
  });

  test('reads records, headers and absence', async () => {
    const { peer, remote } = await pair();
    const record = recordOf('k', 'v', 5);
    remote.replica.records.set('k', record);
    const found = new Attempt(text('k'));
    const absent = new Attempt(text('other'));
    peer.read(found, 0, 'record');
    peer.read(found, 1, 'header');
    peer.read(absent, 0, 'record');
    await until(() => found.reads.length === 2 && absent.reads.length === 1);
    const header = Buffer.from(headerOf(record));
    expect(found.reads).toEqual([
      [0, { kind: 'found', header, record }],
      [1, { kind: 'found', header }],
    ]);
    expect(absent.reads).toEqual([[0, { kind: 'absent' }]]);
  });

  test('carries a value of 1 MiB both ways', async () => {
    const { peer } = await pair();
    const record = recordOf('k', 'x'.repeat(1_048_576), 5);
    const attempt = new Attempt(text('k'), record);
    peer.apply(attempt, 0);
    await until(() => attempt.applied.length > 0);
    peer.read(attempt, 0, 'record');
    await until(() => attempt.reads.length > 0);
    const [, answer] = attempt.reads[0] ?? [];
    expect(answer?.kind).toBe('found');
    // Compared as a whole: a matcher would look at each of a million bytes.
    expect(answer?.kind === 'found' && Buffer.compare(answer.record ?? EMPTY, record)).toBe(0);
  });

  test('scans and pings', async () => {
    const { peer, remote } = await pair();
    const request: ReplicaScan = {
      gte: text('a'),
      lt: text('z'),
      reverse: true,
      limit: 7,
      maxBytes: 1_000,
      partitions: Buffer.alloc(32, 0xaa),
      whole: Buffer.alloc(32, 0x0f),
      asDigest: false,
      placementVersion: 3,
    };
    remote.replica.page = {
      kind: 'page',
      entries: [
        { key: text('b'), record: recordOf('b', '1', 1) },
        { key: text('c'), record: headerOf(recordOf('c', '2', 2)) },
      ],
      scannedTo: text('d'),
      corrupt: [text('bad')],
    };
    const deadlineMs = systemClock.monotonicMs() + 5_000;
    expect(await peer.scan(request, deadlineMs)).toEqual(remote.replica.page);
    expect(remote.replica.scans).toEqual([request]);
    remote.replica.page = { kind: 'page', entries: [], digest: Buffer.alloc(8, 7), corrupt: [] };
    const digest = await peer.scan({ ...request, asDigest: true }, deadlineMs);
    expect(digest).toEqual(remote.replica.page);
    expect(remote.replica.scans.at(-1)?.asDigest).toBe(true);
    expect(await peer.ping(PING, deadlineMs)).toEqual({
      kind: 'pong',
      nodeId: 'n1',
      wallMs: 1_234,
      hlc: version(77),
      quarantined: true,
      commitCounter: 9,
      incarnation: Uint8Array.from(Buffer.from('12345678')),
      placementVersion: 1,
      rumours: [],
    });
    expect(peer.roundTripMs).toBeGreaterThan(0);
  });

  test('carries news of the cluster with pings, both ways', async () => {
    const { peer, remote } = await pair();
    const told: Rumour = { nodeId: 'n3', address: 'h:3', generation: 2 ** 45, status: 'suspect' };
    const heard: Rumour = { nodeId: 'n4', address: 'h:4', generation: 7, status: 'dead' };
    remote.replica.rumours = [heard];
    const deadlineMs = systemClock.monotonicMs() + 5_000;
    expect(await peer.ping({ from: 'n2', rumours: [told] }, deadlineMs)).toMatchObject({
      rumours: [heard],
    });
    expect(remote.replica.pings).toEqual([{ from: 'n2', rumours: [told] }]);
  });

  test('reads fences along with records, headers and absence', async () => {
    const { peer, remote } = await pair();
    const fence = Buffer.alloc(16, 3);
    const record = recordOf('k', 'v', 5);
    remote.replica.records.set('k', record);
    remote.replica.fence = fence;
    const found = new Attempt(text('k'));
    const absent = new Attempt(text('other'));
    peer.read(found, 0, 'record');
    peer.read(found, 1, 'header');
    peer.read(absent, 0, 'record');
    await until(() => found.reads.length === 2 && absent.reads.length === 1);
    const header = Buffer.from(headerOf(record));
    expect(found.reads).toEqual([
      [0, { kind: 'found', header, record, fence }],
      [1, { kind: 'found', header, fence }],
    ]);
    expect(absent.reads).toEqual([[0, { kind: 'absent', fence }]]);
    const copy = new Attempt(text('k'), recordOf('k', 'w', 6), 5_000, 'copy', fence);
    peer.apply(copy, 0);
    await until(() => copy.applied.length > 0);
    expect(remote.replica.applied[0]?.fence).toEqual(fence);
    const odd = new Attempt(text('k'), recordOf('k', 'x', 7), 5_000, 'copy', text('odd'));
    peer.apply(odd, 0);
    await until(() => odd.applied.length > 0);
    const message = 'fence: 3 bytes, it must be 16, or 0 for none';
    expect(odd.applied).toEqual([[0, { kind: 'refused', code: 'INVALID_ARGUMENT', message }]]);
  });

  test('promises a ballot, tells what is there, and says which ballot would not be refused', async () => {
    const { peer, remote } = await pair();
    const [record, fence] = [recordOf('k', 'v', 5), Buffer.from('fence of 16 byte')];
    remote.replica.records.set('k', record);
    const ballot = Buffer.from('ballot: 16 bytes');
    const attempt = new Attempt(text('k'), recordOf('k', 'v', 5), 5_000, 'accept');
    const prepare = (
      key: string,
      asked: Uint8Array,
      named: Partial<Pick<PrepareCall, 'above' | 'known'>> = {},
    ): Promise<PrepareAnswer> =>
      new Promise((resolve) => {
        const { keyHash, deadlineMs, placementVersion, traceparent } = attempt;
        const onPrepared = (_: number, answer: PrepareAnswer): void => resolve(answer);
        const call = { keyHash, deadlineMs, placementVersion, traceparent, onPrepared };
        const facts = { ...call, above: EMPTY, known: EMPTY, ...named };
        peer.prepare({ ...facts, key: text(key), ballot: asked }, 0);
      });
    expect(await prepare('k', ballot)).toEqual({ kind: 'promised', record });
    remote.replica.fence = fence;
    expect(await prepare('other', ballot, { above: fence })).toEqual({ kind: 'promised', fence });
    expect(remote.replica.ballots).toEqual([
      { ballot, above: EMPTY },
      { ballot, above: Uint8Array.from(fence) },
    ]);
    const header = headerOf(record);
    expect(await prepare('k', ballot, { known: header })).toEqual({
      kind: 'promised',
      header,
      fence,
    });
    const other = headerOf(recordOf('k', 'other', 5));
    expect(await prepare('k', ballot, { known: other })).toEqual({
      kind: 'promised',
      record,
      fence,
    });
    const refused = { kind: 'refused', code: 'REFUSED', message: 'promised' } as const;
    remote.replica.failure = { ...refused, promised: fence };
    expect(await prepare('k', ballot)).toEqual({ ...refused, promised: fence });
    peer.apply(attempt, 0);
    await until(() => attempt.applied.length > 0);
    expect(attempt.applied).toEqual([[0, { ...refused, promised: fence }]]);
    expect(remote.replica.applied[0]?.source).toBe('accept');
    const malformed = { kind: 'refused', code: 'INVALID_ARGUMENT' };
    const message = 'version: 3 bytes, a ballot has 16';
    expect(await prepare('k', text('odd'))).toEqual({ ...malformed, message });
    const above = 'above: 3 bytes, it must be 16, or 0 for none';
    expect(await prepare('k', ballot, { above: text('odd') })).toEqual({
      ...malformed,
      message: above,
    });
  });

  test('asks, and says who does', async () => {
    const { peer, remote } = await pair();
    const deadlineMs = systemClock.monotonicMs() + 5_000;
    const self = { incarnation: Uint8Array.from(text('12345678')), commitCounter: 5 };
    expect(await peer.ask('introduce', { nodeId: 'n2', ...self }, deadlineMs)).toEqual(
      remote.replica.reply,
    );
    remote.replica.reply = { kind: 'reply', state: 'refilling', ...self, remembers: self };
    expect(await peer.ask('introduce', { nodeId: 'n2', ...self }, deadlineMs)).toEqual(
      remote.replica.reply,
    );
    expect(remote.replica.asked[1]).toEqual({
      kind: 'introduce',
      request: { nodeId: 'n2', ...self },
    });
    const probe = { target: 'n'.repeat(301) };
    expect(await peer.ask('probe', probe, deadlineMs)).toEqual({
      kind: 'refused',
      code: 'INVALID_ARGUMENT',
      message: 'target: 301 characters, it must have 1 to 300',
    });
    remote.replica.reply = {
      kind: 'reply',
      keys: [Buffer.alloc(4_200_000)],
      headers: [Buffer.alloc(25)],
      corrupt: [],
      listed: 1,
      committed: EMPTY,
    };
    const keys = { from: 'n2', partition: 0, segments: [1] };
    expect(await peer.ask('keys', keys, deadlineMs)).toMatchObject({
      kind: 'refused',
      code: 'INTERNAL',
      message: expect.stringMatching(/^the reply to "keys" has 42\d+ bytes, the limit is /),
    });
    expect(await peer.ping(PING, deadlineMs)).toMatchObject({ kind: 'pong' });
  });
});

describe('what frames say of their sender', () => {
  const LATER: Lives = {
    incarnation: Uint8Array.from(text('22345678')),
    known: [{ nodeId: 'n3', incarnation: Uint8Array.from(text('32345678')) }],
  };
  const cut = { dropTo: [], dropFrom: [], delayMs: 0, skewMs: 0 };

  test('comes before the connection counts as open, before the answers that come with it, and once', async () => {
    const told: string[] = [];
    const { peer, remote } = await pair({
      onLives: ({ incarnation, known }) =>
        told.push(`life ${Buffer.from(incarnation).toString()} knows ${known.length}`),
      onState: ({ kind }) => told.push(kind),
      onCommitCounter: (counter) => told.push(`commit ${counter}`),
    });
    const deadlineMs = systemClock.monotonicMs() + 5_000;
    const ping = async () => told.push((await peer.ping(PING, deadlineMs)).kind);
    await ping();
    remote.replica.lives = LATER;
    remote.replica.commitCounter = 2 ** 40;
    await ping();
    await ping();
    expect(told.join(', ')).toBe(
      'life 12345678 knows 0, commit 9, connected, commit 9, pong, ' +
        `life 22345678 knows 1, commit ${2 ** 40}, pong, commit ${2 ** 40}, pong`,
    );
  });

  test('names the life in which each answer was given, though they share a turn', async () => {
    const lives: string[] = [];
    const { peer, remote } = await pair({
      onLives: ({ incarnation }) => lives.push(Buffer.from(incarnation).toString()),
    });
    remote.replica.hold = true;
    class Told extends Attempt {
      override onApplied(): void {
        lives.push('answer');
      }
    }
    for (const key of ['a', 'b']) peer.apply(new Told(text(key), recordOf(key, 'v', 5)), 0);
    await until(() => remote.replica.held.length === 2);
    const later = remote.replica.held.pop() as ApplyCall;
    remote.replica.release();
    remote.replica.lives = LATER;
    later.onApplied(0, { kind: 'applied' });
    await until(() => lives.length === 4);
    expect(lives).toEqual(['12345678', 'answer', '22345678', 'answer']);
  });

  test('keeps its order when the node stops in the turn of an answer', async () => {
    const told: string[] = [];
    const { peer, remote } = await pair({
      onLives: ({ incarnation }) => told.push(Buffer.from(incarnation).toString()),
    });
    remote.replica.hold = true;
    const attempt = new Attempt(text('k'), recordOf('k', 'v', 5));
    peer.apply(attempt, 0);
    await until(() => remote.replica.held.length === 1);
    remote.replica.release();
    remote.replica.lives = LATER;
    const closing = remote.server.close(500);
    await until(() => attempt.applied.length === 1);
    expect(attempt.applied).toEqual([[0, { kind: 'applied' }]]);
    expect(told).toEqual(['12345678']);
    await closing;
  });

  test('is not heard of a node of which nothing is, and is made up for afterwards', async () => {
    const faults = new InjectedFaults();
    const lives: Lives[] = [];
    const { peer, remote } = await pair({ faults, onLives: (heard) => lives.push(heard) });
    faults.set({ ...cut, dropFrom: ['n1'] });
    remote.replica.lives = LATER;
    await peer.ping(PING, systemClock.monotonicMs() + 30);
    expect(lives.length).toBe(1);
    faults.set(cut);
    await peer.ping(PING, systemClock.monotonicMs() + 5_000);
    expect(lives[1]).toEqual(LATER);
  });
});

describe('failures of a replica over the wire', () => {
  test('are told as the replica tells them', async () => {
    const { peer, remote } = await pair();
    const deadlineMs = systemClock.monotonicMs() + 5_000;
    for (const kind of ['refused', 'failed'] as const) {
      remote.replica.failure = { kind, code: 'STORE_FAILED', message: `${kind} it` };
      const attempt = new Attempt(text('k'), recordOf('k', 'v', 5));
      peer.apply(attempt, 0);
      peer.read(attempt, 1, 'header');
      await until(() => attempt.applied.length > 0 && attempt.reads.length > 0);
      expect(attempt.applied).toEqual([[0, remote.replica.failure]]);
      expect(attempt.reads).toEqual([[1, remote.replica.failure]]);
      expect(await peer.ping(PING, deadlineMs)).toEqual(remote.replica.failure);
    }
  });

  test('a deadline leaves it in doubt', async () => {
    const { peer, remote } = await pair();
    remote.replica.hold = true;
    const attempt = new Attempt(text('k'), recordOf('k', 'v', 5), 20);
    peer.apply(attempt, 0);
    await until(() => attempt.applied.length > 0);
    expect(attempt.applied[0]?.[1]).toMatchObject({ kind: 'failed', code: 'TIMED_OUT' });
    remote.replica.release();
    await peer.ping(PING, systemClock.monotonicMs() + 5_000);
    expect(attempt.applied.length).toBe(1);
  });

  test('a broken channel leaves what was sent in doubt, and what was not is unreachable', async () => {
    const { peer, remote } = await pair();
    remote.replica.hold = true;
    const sent = new Attempt(text('k'), recordOf('k', 'v', 5));
    peer.apply(sent, 0);
    await until(() => remote.replica.held.length > 0);
    await remote.server.close(0);
    await until(() => sent.applied.length > 0);
    expect(sent.applied[0]?.[1]).toMatchObject({ kind: 'failed', code: 'UNAVAILABLE' });
    await until(() => !peer.connected);
    const unsent = new Attempt(text('k'), recordOf('k', 'v', 5));
    peer.apply(unsent, 0);
    expect(unsent.applied).toEqual([]);
    await until(() => unsent.applied.length > 0);
    expect(unsent.applied[0]?.[1]).toMatchObject({ kind: 'unreachable', code: 'UNAVAILABLE' });
    expect(peer.state.kind).toBe('connecting');
    expect(peer.state.reason).not.toBe('');
  });

  test('a node of another cluster is refused, with what differs', async () => {
    const remote = await node({ clusterName: 'other' });
    const peer = link(remote.endpoint);
    await until(() => peer.state.kind === 'refused');
    expect(peer.state.reason).toMatch(/"other".*"test".*the names differ/);
    expect(peer.connected).toBe(false);
  });

  test('another node at its address is refused', async () => {
    const remote = await node();
    const peer = link(remote.endpoint, { nodeId: 'n3', selfId: 'n2' });
    await until(() => peer.state.kind === 'refused');
    expect(peer.state.reason).toMatch(/is node n1, not n3/);
  });
});

function soon(): Attempt {
  return new Attempt(text('k'), recordOf('k', 'v', 5), 30);
}

describe('injected faults', () => {
  const cut = { dropTo: [], dropFrom: [], delayMs: 0, skewMs: 0 };

  test('calls to a node that nothing reaches wait for their deadline', async () => {
    const faults = new InjectedFaults();
    const { peer, remote } = await pair({ faults });
    faults.set({ ...cut, dropTo: ['n1'] });
    const attempt = soon();
    peer.apply(attempt, 0);
    await until(() => attempt.applied.length > 0);
    expect(attempt.applied).toMatchObject([[0, { kind: 'failed', code: 'TIMED_OUT' }]]);
    expect(remote.replica.applied.length).toBe(0);
  });

  test('answers of a node of which nothing is heard are lost on the way', async () => {
    const faults = new InjectedFaults();
    const { peer, remote } = await pair({ faults });
    faults.set({ ...cut, dropFrom: ['n1'] });
    const attempt = soon();
    peer.apply(attempt, 0);
    await until(() => attempt.applied.length > 0);
    expect(attempt.applied).toMatchObject([[0, { kind: 'failed', code: 'TIMED_OUT' }]]);
    expect(remote.replica.records.size).toBe(1);
    faults.set(cut);
    const healed = new Attempt(text('k'), recordOf('k', 'v', 6));
    peer.apply(healed, 0);
    await until(() => healed.applied.length > 0);
    expect(healed.applied).toEqual([[0, { kind: 'applied' }]]);
  });

  test('the other side loses calls and answers as well', async () => {
    const faults = new InjectedFaults();
    const { peer, remote } = await pair({}, { faults });
    faults.set({ ...cut, dropFrom: ['n2'] });
    const unheard = soon();
    peer.apply(unheard, 0);
    await until(() => unheard.applied.length > 0);
    expect(unheard.applied).toMatchObject([[0, { kind: 'failed', code: 'TIMED_OUT' }]]);
    expect(remote.replica.applied.length).toBe(0);
    faults.set({ ...cut, dropTo: ['n2'] });
    const unanswered = soon();
    peer.apply(unanswered, 0);
    await until(() => unanswered.applied.length > 0);
    expect(unanswered.applied).toMatchObject([[0, { kind: 'failed', code: 'TIMED_OUT' }]]);
    expect(remote.replica.records.size).toBe(1);
  });

  test('delays hold calls back', async () => {
    const faults = new InjectedFaults();
    const { peer } = await pair({ faults });
    faults.set({ ...cut, delayMs: 40 });
    const startedMs = systemClock.monotonicMs();
    await peer.ping(PING, startedMs + 5_000);
    expect(systemClock.monotonicMs() - startedMs).toBeGreaterThanOrEqual(39);
  });
});
