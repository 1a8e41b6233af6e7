import { describe, expect, test } from 'vitest';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import { silentLog } from '../../src/io/log.js';
import type { ApplyCall, ReplicaFailure } from '../../src/io/peer.js';
import type { StoreOpener } from '../../src/io/store.js';
import { startHintDelivery, type HintDelivery } from '../../src/maintenance/hint-delivery.js';
import { ALL_HINTS, recordKey, WHOLE_STORE } from '../../src/replica/layout.js';
import { markOf } from '../../src/replica/owed-keys.js';
import { MemoryPeer } from '../coordinator/memory-peer.js';
import { createFaultyDisk } from '../replica/faulty-disk.js';
import {
  applyCall,
  applyOne,
  bytes,
  openTestReplica,
  recordOf,
  stampedAt,
  START_WALL_MS,
  type TestReplica,
} from '../replica/fixtures.js';
import { createVirtualTime } from '../virtual-time.js';

const LOOK_MS = 500;

/** A target that counts what is under way to it, and refuses by key when told. */
class Target extends MemoryPeer {
  underWay = 0;
  most = 0;
  readonly arrived: string[] = [];
  readonly fences: Uint8Array[] = [];
  refusal: ((key: string) => ReplicaFailure | undefined) | undefined;

  override apply(call: ApplyCall, slot: number): void {
    const key = markOf(call.key);
    this.arrived.push(key);
    this.fences.push(call.fence);
    this.most = Math.max(this.most, ++this.underWay);
    const { refusal } = this;
    super.apply(
      {
        ...call,
        key: call.key,
        record: call.record,
        onApplied: (_, answer) => {
          this.underWay--;
          call.onApplied(slot, refusal?.(key) ?? answer);
        },
      },
      slot,
    );
  }
}

interface World extends TestReplica {
  readonly target: Target;
  readonly delivery: HintDelivery;
  busy: boolean;
  /** What the log says of deliveries. */
  readonly told: readonly string[];
}

async function worldOn(opener: StoreOpener): Promise<World> {
  const time = createVirtualTime(START_WALL_MS);
  const { replica } = await openTestReplica(opener, {}, time);
  const target = new Target('n2', time);
  target.connected = false;
  const told: string[] = [];
  const world = { time, replica, target, busy: false, told };
  const delivery = startHintDelivery({
    keeper: replica,
    peerOf: (nodeId) => (nodeId === 'n2' ? target : undefined),
    placementVersion: () => 1,
    busy: () => world.busy,
    clock: time.clock,
    timers: time.timers,
    log: { ...silentLog, info: (_: object, said: string) => void told.push(said) },
  });
  return Object.assign(world, { delivery });
}

/** Writes `count` records here that the target has missed. */
async function miss(world: World, count: number): Promise<string[]> {
  const { replica, time } = world;
  const keys = Array.from({ length: count }, (_, i) => `key ${i}`);
  for (const key of keys) {
    replica.apply(applyCall(bytes(key), recordOf(bytes(key), 1)), 0);
    replica.hints.mark('n2', bytes(key));
  }
  await time.advance(LOOK_MS);
  return keys;
}

function stampOf(target: Target, key: string): number {
  return stampedAt(target.records.get(key) as Uint8Array);
}

function connect({ target, delivery }: World): void {
  target.connected = true;
  delivery.onConnected('n2');
}

async function hintsOn({ time, replica }: World, opener: StoreOpener): Promise<number> {
  const closed = replica.close();
  await time.settle();
  await closed;
  const store = await opener.open();
  const cursor = store.cursor(ALL_HINTS);
  const entries = await cursor.next(10_000);
  await cursor.close();
  await store.close();
  return entries.length;
}

describe('a target that is back', () => {
  test('gets the records as they are now, and nothing is owed afterwards, in memory or on disk', async () => {
    const opener = memoryStoreOpener();
    const world = await worldOn(opener);
    const { replica, target, time } = world;
    const keys = await miss(world, 300);
    await applyOne(world, bytes('key 7'), recordOf(bytes('key 7'), 9));
    expect(target.arrived).toEqual([]);

    connect(world);
    await time.advance(LOOK_MS);
    expect([...target.records.keys()].sort()).toEqual([...keys].sort());
    expect(stampOf(target, 'key 7')).toBe(9);
    expect(replica.hints.status()).toEqual({ owed: [], delivered: 300, dropped: 0 });
    await miss(world, 3);
    await time.advance(LOOK_MS);
    expect(world.told).toEqual(['n2 has the 300 keys that it missed']);
    expect(await hintsOn(world, opener)).toBe(0);
  });

  test('that holds a newer record keeps it', async () => {
    const world = await worldOn(memoryStoreOpener());
    await miss(world, 1);
    const newer = recordOf(bytes('key 0'), 50);
    world.target.hold(newer, 'key 0');
    connect(world);
    await world.time.advance(LOOK_MS);
    expect(world.target.records.get('key 0')).toEqual(newer);
    expect(world.replica.hints.owed).toBe(0);
  });

  test('gets a key again that it missed while a delivery of it was under way', async () => {
    const world = await worldOn(memoryStoreOpener());
    const { target, replica, time } = world;
    target.delayMs = () => 50;
    await miss(world, 1);
    connect(world);
    await time.advance(20);
    expect(target.underWay).toBe(1);
    await applyOne(world, bytes('key 0'), recordOf(bytes('key 0'), 60));
    replica.hints.mark('n2', bytes('key 0'));
    await time.advance(2 * LOOK_MS);
    expect(target.arrived).toEqual(['key 0', 'key 0']);
    expect(stampOf(target, 'key 0')).toBe(60);
    expect(replica.hints.owed).toBe(0);
  });

  test('gets a miss that comes while it is connected', async () => {
    const world = await worldOn(memoryStoreOpener());
    connect(world);
    await miss(world, 3);
    await world.time.advance(LOOK_MS);
    expect(world.target.records.size).toBe(3);
  });
});

describe('the keeper', () => {
  test('that crashes between a delivery and the removal of its mark delivers it again, which changes nothing', async () => {
    const disk = createFaultyDisk();
    const world = await worldOn(disk);
    const { target, time } = world;
    await miss(world, 2);
    // From now on its disk takes nothing: the target has the records, and the marks are still there.
    disk.gate = new Promise(() => {});
    connect(world);
    await time.advance(LOOK_MS);
    expect(target.records.size).toBe(2);

    const later = await worldOn(await copyOf(disk.store));
    expect(later.replica.hints.owed).toBe(2);
    const held = target.records.get('key 0') as Uint8Array;
    later.target.hold(held, 'key 0');
    connect(later);
    await later.time.advance(LOOK_MS);
    expect(later.target.records.get('key 0')).toBe(held);
    expect(later.replica.hints.status()).toEqual({ owed: [], delivered: 2, dropped: 0 });
  });

  test('drops marks of what it does not have or cannot read, and counts them', async () => {
    const disk = createFaultyDisk();
    const world = await worldOn(disk);
    const { replica, target, time } = world;
    replica.hints.mark('n2', bytes('absent'));
    await miss(world, 3);
    disk.damagedKey = recordKey(bytes('key 1'));
    const batch = disk.store.batch();
    await batch.put(recordKey(bytes('key 2')), bytes('not a record')).commit({ sync: true });
    connect(world);
    await time.advance(LOOK_MS);
    expect([...target.records.keys()]).toEqual(['key 0']);
    expect(replica.hints.status()).toEqual({ owed: [], delivered: 1, dropped: 3 });
  });

  test('drops marks for a node that is no member', async () => {
    const world = await worldOn(memoryStoreOpener());
    world.replica.hints.mark('n9', bytes('key'));
    await world.time.advance(LOOK_MS);
    expect(world.replica.hints.status()).toEqual({ owed: [], delivered: 0, dropped: 1 });
  });

  test('keeps its marks while its disk fails, and delivers them when it does not', async () => {
    const disk = createFaultyDisk();
    const world = await worldOn(disk);
    const { replica, target, time } = world;
    await miss(world, 20);
    disk.failNextCommit = 'lost';
    disk.openFailures = 3;
    await applyOne(world, bytes('other'), recordOf(bytes('other'), 5));
    expect(replica.problem).toBeDefined();
    connect(world);
    await time.advance(2 * LOOK_MS);
    expect(replica.hints.owed).toBe(20);
    await time.until(() => replica.hints.owed === 0, 10_000);
    expect(target.records.size).toBe(20);
    expect(replica.hints.status().dropped).toBe(0);
  });
});

describe('a target that refuses', () => {
  test('for now is tried again, and gets all of it', async () => {
    const world = await worldOn(memoryStoreOpener());
    const { target, replica, time } = world;
    await miss(world, 100);
    target.refusal = () => ({ kind: 'refused', code: 'UNAVAILABLE', message: 'it is refilling' });
    connect(world);
    await time.advance(4 * LOOK_MS);
    expect(replica.hints.status()).toEqual({
      owed: [{ nodeId: 'n2', keys: 100 }],
      delivered: 0,
      dropped: 0,
    });
    // It is asked a few times a second, with a few records.
    expect(target.arrived.length).toBeLessThanOrEqual(6 * 16);
    target.refusal = undefined;
    await time.advance(2 * LOOK_MS);
    expect(replica.hints.owed).toBe(0);
  });

  test('by a fence is not owed the key any more', async () => {
    const world = await worldOn(memoryStoreOpener());
    const { target, replica, time } = world;
    await miss(world, 3);
    target.refusal = (key) =>
      key === 'key 1'
        ? { kind: 'refused', code: 'REFUSED', message: 'below the committed fence' }
        : undefined;
    connect(world);
    await time.advance(LOOK_MS);
    expect(replica.hints.status()).toEqual({ owed: [], delivered: 2, dropped: 1 });
  });

  test('with a channel that breaks is owed all that was under way', async () => {
    const world = await worldOn(memoryStoreOpener());
    const { target, replica, time } = world;
    await miss(world, 50);
    target.fate = () => 'is lost before';
    connect(world);
    await time.advance(1);
    target.connected = false;
    await time.advance(LOOK_MS);
    expect(replica.hints.owed).toBe(50);
    target.fate = () => 'works';
    connect(world);
    await time.advance(LOOK_MS);
    expect(target.records.size).toBe(50);
    expect(replica.hints.owed).toBe(0);
  });
});

describe('the pace', () => {
  test('of a target that answers at once grows up to a bound', async () => {
    const world = await worldOn(memoryStoreOpener());
    const { target, time, replica } = world;
    target.delayMs = () => 2;
    await miss(world, 2_000);
    connect(world);
    await time.until(() => replica.hints.owed === 0, 1_000);
    expect(target.most).toBeGreaterThan(100);
    expect(target.most).toBeLessThanOrEqual(512);
  });

  test('of a target that answers slowly stays at the least', async () => {
    const world = await worldOn(memoryStoreOpener());
    const { target, time, replica } = world;
    target.delayMs = () => 300;
    await miss(world, 200);
    connect(world);
    await time.until(() => replica.hints.owed === 0, 20_000);
    expect(target.most).toBeLessThanOrEqual(16);
  });

  test('of a node with requests to serve rests a quarter as long as it delivers, with less under way', async () => {
    const worlds = [await worldOn(memoryStoreOpener()), await worldOn(memoryStoreOpener())];
    const took: number[] = [];
    for (const [i, world] of worlds.entries()) {
      const { target, time, replica } = world;
      target.delayMs = () => 5;
      world.busy = i === 1;
      await miss(world, 2_000);
      connect(world);
      const sinceMs = time.clock.monotonicMs();
      await time.until(() => replica.hints.owed === 0, 10_000);
      took.push(time.clock.monotonicMs() - sinceMs);
      expect(target.records.size).toBe(2_000);
    }
    const [quietMs, busyMs] = took as [number, number];
    expect(busyMs).toBeGreaterThan(1.2 * quietMs);
    expect(busyMs).toBeLessThan(1_000);
    expect(worlds[1]?.target.most).toBeLessThanOrEqual(256);
  });
});

/** A disk with what is on another one, as a process finds it that starts after a crash. */
async function copyOf(store: { cursor: StoreCursorSource }): Promise<StoreOpener> {
  const opener = memoryStoreOpener();
  const copy = await opener.open();
  const cursor = store.cursor(WHOLE_STORE);
  const batch = copy.batch();
  for (const [key, value] of await cursor.next(10_000)) batch.put(key, value);
  await cursor.close();
  await batch.commit({ sync: true });
  await copy.close();
  return opener;
}

type StoreCursorSource = Awaited<ReturnType<StoreOpener['open']>>['cursor'];
