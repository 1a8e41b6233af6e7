import { expect, test } from 'vitest';
import { silentLog } from '../../src/io/log.js';
import type { Peer, PingAnswer, ReplicaFailure } from '../../src/io/peer.js';
import { startClockWatch, type ClockWatch } from '../../src/maintenance/clock-watch.js';
import { ZERO_VERSION } from '../../src/core/version.js';
import { createVirtualTime, type VirtualClock, type VirtualTime } from '../virtual-time.js';

/** A peer that answers pings by its own clock, after a way there and a way back. */
class ClockPeer implements Peer {
  connected = true;
  thereMs = 1;
  backMs = 1;
  /** Answers no more: pings end at their deadline. */
  stopped = false;
  refuses = false;
  readonly clock: VirtualClock;

  constructor(
    readonly nodeId: string,
    private readonly time: VirtualTime,
  ) {
    this.clock = time.clockWithSkew(0);
  }

  apply(): void {
    throw new Error('the clock watch writes nothing');
  }

  read(): void {
    throw new Error('the clock watch reads nothing');
  }

  scan(): Promise<never> {
    throw new Error('the clock watch scans nothing');
  }

  async ping(_: unknown, deadlineMs: number): Promise<PingAnswer | ReplicaFailure> {
    if (this.stopped) {
      await this.#wait(deadlineMs - this.time.clock.monotonicMs());
      return { kind: 'failed', code: 'TIMED_OUT', message: 'no answer' };
    }
    await this.#wait(this.thereMs);
    const wallMs = this.clock.wallMs();
    await this.#wait(this.backMs);
    if (this.refuses) return { kind: 'refused', code: 'OVERLOADED', message: 'busy' };
    return {
      kind: 'pong',
      nodeId: this.nodeId,
      wallMs,
      hlc: ZERO_VERSION,
      quarantined: false,
      commitCounter: 0,
      incarnation: new Uint8Array(8),
      placementVersion: 1,
      rumours: [],
    };
  }

  ask(): Promise<never> {
    throw new Error('nothing is asked here');
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.time.timers.after(delayMs, resolve);
    });
  }
}

interface Stage {
  readonly time: VirtualTime;
  readonly own: VirtualClock;
  readonly peers: readonly [ClockPeer, ClockPeer];
  readonly watch: ClockWatch;
  readonly changes: boolean[];
  readonly pings: { readonly nodeId: string; readonly roundTripMs: number | undefined }[];
}

function createStage(): Stage {
  const time = createVirtualTime();
  const own = time.clockWithSkew(0);
  const peers = [new ClockPeer('n2', time), new ClockPeer('n3', time)] as const;
  const changes: boolean[] = [];
  const pings: Stage['pings'] = [];
  const watch = startClockWatch({
    peers: () => peers,
    clock: own,
    timers: time.timers,
    maxDriftMs: 500,
    onPing: (nodeId, roundTripMs) => pings.push({ nodeId, roundTripMs }),
    onQuarantine: (quarantined) => changes.push(quarantined),
    log: silentLog,
  });
  return { time, own, peers, watch, changes, pings };
}

test('a node whose own clock jumps is quarantined within a second, and returns by itself', async () => {
  const { time, own, watch, changes } = createStage();
  await time.advance(5_000);
  expect(watch.quarantined()).toBe(false);
  own.skewMs = 800;
  await time.advance(1_000);
  expect(watch.quarantined()).toBe(true);
  expect(watch.offsetMs()).toBeCloseTo(-800, -1);
  own.skewMs = 300;
  await time.advance(1_000);
  expect(watch.quarantined()).toBe(false);
  expect(changes).toEqual([true, false]);
});

test('a jump of the own clock counts from the moment that anybody asks, not from the next ping', async () => {
  const { time, own, watch } = createStage();
  await time.advance(5_000);
  own.skewMs = 5_000;
  expect(watch.quarantined()).toBe(true);
  own.skewMs = 0;
  expect(watch.quarantined()).toBe(false);
});

test('one peer with a wrong clock quarantines nobody but itself, and is seen to be off', async () => {
  const { time, peers, watch } = createStage();
  peers[0].clock.skewMs = 60_000;
  await time.advance(3_000);
  expect(watch.quarantined()).toBe(false);
  expect(watch.peers()[0]?.offsetMs).toBeCloseTo(60_000, -1);
  expect(watch.peers()[1]?.offsetMs).toBeCloseTo(0, -1);
});

test('a peer whose clock jumps is believed at its next ping', async () => {
  const { time, peers, watch } = createStage();
  await time.advance(8_000);
  peers[0].clock.skewMs = 700;
  peers[1].clock.skewMs = 700;
  await time.advance(1_500);
  expect(watch.offsetMs()).toBeCloseTo(700, -1);
  expect(watch.quarantined()).toBe(true);
});

test('of recent pings the one with the shortest round trip tells the offset', async () => {
  const { time, peers, watch } = createStage();
  const [n2] = peers;
  n2.backMs = 400;
  await time.advance(900);
  expect(watch.peers()[0]).toMatchObject({ nodeId: 'n2', roundTripMs: 401 });
  expect(watch.peers()[0]?.offsetMs).toBeLessThan(-190);
  n2.backMs = 1;
  await time.advance(1_000);
  expect(watch.peers()[0]?.roundTripMs).toBe(2);
  expect(watch.peers()[0]?.offsetMs).toBeCloseTo(0, -1);
  n2.backMs = 400;
  await time.advance(3_000);
  expect(watch.peers()[0]?.roundTripMs).toBe(2);
});

test('pings tell who lives: a refusal does, a silence does not, and one who is cut off is not asked', async () => {
  const { time, peers, pings } = createStage();
  const [n2, n3] = peers;
  n2.stopped = true;
  n3.refuses = true;
  await time.advance(2_500);
  expect(pings).toContainEqual({ nodeId: 'n2', roundTripMs: undefined });
  expect(pings).toContainEqual({ nodeId: 'n3', roundTripMs: 2 });
  n2.connected = false;
  n3.connected = false;
  await time.advance(1_500);
  pings.length = 0;
  await time.advance(5_000);
  expect(pings).toEqual([]);
});

test('a peer that is not heard any more is no witness after a while', async () => {
  const { time, own, peers, watch } = createStage();
  await time.advance(2_000);
  for (const peer of peers) peer.connected = false;
  own.skewMs = 5_000;
  await time.advance(2_000);
  expect(watch.quarantined()).toBe(true);
  await time.advance(10_000);
  expect(watch.peers()[0]).toMatchObject({ offsetMs: undefined, roundTripMs: undefined });
  expect(watch.quarantined()).toBe(false);
});

test('a watch that was stopped pings no more', async () => {
  const { time, watch, pings } = createStage();
  await time.advance(100);
  watch.stop();
  pings.length = 0;
  await time.advance(5_000);
  expect(pings).toEqual([]);
  expect(time.waiting).toBe(0);
});
