import { expect, test } from 'vitest';
import { silentLog } from '../../src/io/log.js';
import { createClockWatch, type ClockWatch } from '../../src/maintenance/clock-watch.js';
import { createVirtualTime, type VirtualClock, type VirtualTime } from '../virtual-time.js';

/** A peer that answers pings by its own clock, after a way there and a way back. */
class ClockPeer {
  connected = true;
  thereMs = 1;
  backMs = 1;
  readonly clock: VirtualClock;

  constructor(
    readonly nodeId: string,
    private readonly time: VirtualTime,
  ) {
    this.clock = time.clockWithSkew(0);
  }

  /** Calls `answer` when the answer is there. */
  ping(answer: (reading: { wallMs: number; quarantined: boolean }) => void): void {
    if (!this.connected) return;
    const { timers } = this.time;
    timers.after(this.thereMs, () => {
      const wallMs = this.clock.wallMs();
      timers.after(this.backMs, () => answer({ wallMs, quarantined: false }));
    });
  }
}

interface Stage {
  readonly time: VirtualTime;
  readonly own: VirtualClock;
  readonly peers: readonly [ClockPeer, ClockPeer];
  readonly watch: ClockWatch;
  readonly changes: boolean[];
}

function createStage(): Stage {
  const time = createVirtualTime();
  const own = time.clockWithSkew(0);
  const peers = [new ClockPeer('n2', time), new ClockPeer('n3', time)] as const;
  const changes: boolean[] = [];
  const watch = createClockWatch({
    peers: () => peers.map(({ nodeId }) => nodeId),
    clock: own,
    maxDriftMs: 500,
    onQuarantine: (quarantined) => changes.push(quarantined),
    log: silentLog,
  });
  const round = (): void => {
    watch.judge();
    for (const peer of peers) {
      const sentAtMs = own.monotonicMs();
      peer.ping((reading) => watch.heard(peer.nodeId, reading, sentAtMs));
    }
  };
  time.timers.every(1_000, round);
  round();
  return { time, own, peers, watch, changes };
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
