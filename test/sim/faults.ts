import { ALL_RECORDS } from '../../src/replica/layout.js';
import { compareKeys } from '../../src/core/key-range.js';
import type { SimNode } from './node.js';
import type { Stream } from './seed.js';
import { SortedEntries } from './sorted-entries.js';
import type { World } from './world.js';

/** Brings a fault about. What it gives ends it; undefined: there was nothing that it could hit. */
type Fault = (world: World, stream: Stream) => (() => void) | undefined;

/** Every fault by its name, as `--faults` takes them. */
export const FAULTS = {
  /** A node is killed right before some event of its own, so at any await, and starts again with its disk. */
  crash: (world, stream) => killNode(world, stream, false),
  /** The same, and the machine loses what was not synced and what was on its way out. */
  power: (world, stream) => killNode(world, stream, true),
  /** A node is killed, and there again as soon as it can be: connections are broken for longer than it is away. */
  'quick-crash': (world, stream) => {
    const node = upNode(world, stream);
    node?.process?.afterEvents(1 + stream.below(60), () => {
      node.crash(false);
      node.start();
    });
    return node && (() => {});
  },
  /** A node is asked to stop, finishes what is under way, and starts again. */
  stop(world, stream) {
    const node = upNode(world, stream);
    node?.stop(stream.pick([0, 100, 2_000]));
    return node && (() => node.start());
  },
  /** A node stands still. */
  pause(world, stream) {
    const node = upNode(world, stream);
    node?.pause();
    return node && (() => node.resume());
  },
  /** A client is killed; another process takes its place. */
  'client-crash': (world, stream) => {
    const client = stream.pick(world.clients);
    client.process.afterEvents(1 + stream.below(40), () => client.crash());
    return () => {
      client.process.afterEvents(0, () => {});
      if (!client.process.alive) world.replaceClient(client);
    };
  },
  'client-pause': (world, stream) => {
    const { process } = stream.pick(world.clients);
    process.pause();
    return () => process.resume();
  },
  /** Two machines do not hear each other. */
  cut(world, stream) {
    const [a, b] = twoHosts(world, stream);
    return cutWays(world, [
      [a, b],
      [b, a],
    ]);
  },
  /** One does not hear the other. */
  'cut-one-way': (world, stream) => {
    const [a, b] = stream.shuffled(twoHosts(world, stream));
    return cutWays(world, [[a, b]]);
  },
  /** One node, alone, with or without its clients. */
  isolate(world, stream) {
    const node = stream.pick(world.nodes).host;
    const others = stream.chance(0.5) ? world.hosts() : world.nodes.map(({ host }) => host);
    return cutWays(world, crossing([node], others));
  },
  /** Two halves that do not hear each other; clients are on either side. */
  halves(world, stream) {
    const hosts = stream.shuffled(world.hosts());
    const half = hosts.splice(0, hosts.length >> 1);
    return cutWays(world, crossing(half, hosts));
  },
  /** Each node hears only its two neighbours. */
  ring(world) {
    const hosts = world.nodes.map(({ host }) => host);
    const ways = hosts.flatMap((a, i) =>
      hosts
        .filter((_, j) => Math.abs(i - j) > 1 && Math.abs(i - j) < hosts.length - 1)
        .map((b): Way => [a, b]),
    );
    return ways.length === 0 ? undefined : cutWays(world, ways);
  },
  drop(world, stream) {
    world.network.dropChance = stream.pick([0.01, 0.05, 0.3]);
    return () => {
      world.network.dropChance = 0;
    };
  },
  duplicate(world, stream) {
    world.network.duplicateChance = stream.pick([0.1, 0.5]);
    return () => {
      world.network.duplicateChance = 0;
    };
  },
  /** Every way to and from one machine is slow. */
  delay(world, stream) {
    const host = someHost(world, stream);
    const slowness = stream.pick([5, 30, 200]);
    for (const other of world.hosts()) {
      world.network.slowDown(host, other, slowness);
      world.network.slowDown(other, host, slowness);
    }
    return () => {
      for (const other of world.hosts()) {
        world.network.slowDown(host, other, 1);
        world.network.slowDown(other, host, 1);
      }
    };
  },
  /** A connection breaks, with what it carried. */
  reset: (world) => (world.network.reset() ? () => {} : undefined),
  /** A clock is off by less than is allowed, or by a little more. */
  skew(world, stream) {
    const clock = world.clockOf(someHost(world, stream));
    clock.setSkew(stream.between(-800, 800));
    return () => {};
  },
  /** A clock jumps, by up to minutes, either way, and is set right later. */
  jump(world, stream) {
    world.clocksSane = false;
    const clock = world.clockOf(someHost(world, stream));
    const farMs = stream.pick([2_000, 20_000, 300_000]);
    clock.setSkew(stream.between(-farMs, farMs));
    return () => clock.setSkew(stream.between(-world.shape.skewMs, world.shape.skewMs));
  },
  /** A clock runs too fast or too slow. */
  drift(world, stream) {
    const clock = world.clockOf(someHost(world, stream));
    clock.setRate(1 + stream.between(-0.05, 0.05));
    return () => clock.setRate(1);
  },
  'disk-slow': (world, stream) => {
    const { disk } = stream.pick(world.nodes);
    disk.slowness = stream.pick([10, 100]);
    return () => {
      disk.slowness = 1;
    };
  },
  'disk-full': (world, stream) => {
    const { disk } = stream.pick(world.nodes);
    disk.full = true;
    return () => {
      disk.full = false;
    };
  },
  /** Syncs fail now and then; whether what they carried is there is seen when the store is opened again. */
  'disk-fail': (world, stream) => {
    const { disk } = stream.pick(world.nodes);
    disk.failureChance = stream.pick([0.02, 0.3, 1]);
    return () => {
      disk.failureChance = 0;
    };
  },
  /** One bit of one record of one replica changes, of each key in at most one: what is promised needs the others. */
  'bit-flip': (world, stream) => {
    // A node that forgot and a record that cannot be read are two replicas of a key that have lost it.
    if (world.forgetting !== undefined) return undefined;
    const node = stream.pick(world.nodes);
    const flipped = node.disk.flipBit(
      (storeKey) =>
        compareKeys(storeKey, ALL_RECORDS.gte) >= 0 &&
        compareKeys(storeKey, ALL_RECORDS.lt) < 0 &&
        !world.isDamaged(storeKey),
    );
    if (flipped === undefined) return undefined;
    world.onDamage(...flipped);
    return () => {};
  },
  /** A node comes back with an empty disk. */
  'empty-disk': (world, stream) => forgetful(world, stream, () => EMPTY),
  /** A node comes back with its disk as it was some time ago. */
  'old-disk': (world, stream) =>
    forgetful(world, stream, (node) => world.olderBackupOf(node, stream)),
  /** A node comes back, and the checksums of its log show that something in it is not there any more. */
  'damaged-log': (world, stream) =>
    forgetful(world, stream, (node) => node.disk.withoutSynced('middle', stream), 'damaged'),
  /** A disk has lost the last that it had synced, and nothing shows it but what others remember. */
  'lost-tail': (world, stream) =>
    forgetful(world, stream, (node) => {
      const disk = node.disk.withoutSynced('end', stream);
      return disk !== undefined && world.isKnownOlder(node, disk) ? disk : undefined;
    }),
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;

export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** What only one replica acknowledged may be gone after these, so they blunt some of the laws. */
const FORGETTING: ReadonlySet<FaultName> = new Set([
  'empty-disk',
  'old-disk',
  'damaged-log',
  'lost-tail',
]);

/** What others do as well, more often than a run under every fault should have it. */
const AIMED: ReadonlySet<FaultName> = new Set(['quick-crash']);

/** Every fault; those that blunt laws in every third seed only. */
export function defaultFaults(seed: number): readonly FaultName[] {
  return FAULT_NAMES.filter(
    (name) => !AIMED.has(name) && (seed % 3 === 0 || !FORGETTING.has(name)),
  );
}

const EMPTY = new SortedEntries();

type Way = readonly [from: number | undefined, to: number | undefined];

function cutWays(world: World, ways: readonly Way[]): (() => void) | undefined {
  const real = ways.filter(
    (way): way is readonly [number, number] => way[0] !== undefined && way[1] !== undefined,
  );
  for (const [from, to] of real) world.network.cut(from, to);
  return () => {
    for (const [from, to] of real) world.network.mend(from, to);
  };
}

function crossing(one: readonly number[], other: readonly number[]): Way[] {
  return one.flatMap((a) =>
    other.flatMap((b): Way[] =>
      a === b
        ? []
        : [
            [a, b],
            [b, a],
          ],
    ),
  );
}

/** A machine: as often one of the few nodes as one of the many clients. */
function someHost(world: World, stream: Stream): number {
  return stream.chance(0.5) ? stream.pick(world.nodes).host : stream.pick(world.hosts());
}

/** A node, and another machine. */
function twoHosts(world: World, stream: Stream): (number | undefined)[] {
  const { host } = stream.pick(world.nodes);
  const others = stream.chance(0.7) ? world.nodes.map((node) => node.host) : world.hosts();
  return [host, stream.shuffled(others).find((other) => other !== host)];
}

function upNode(world: World, stream: Stream): SimNode | undefined {
  const up = world.nodes.filter((node) => node.process !== undefined);
  return up.length === 0 ? undefined : stream.pick(up);
}

function killNode(world: World, stream: Stream, power: boolean): (() => void) | undefined {
  const node = upNode(world, stream);
  const process = node?.process;
  process?.afterEvents(1 + stream.below(60), () => node?.crash(power));
  return () => {
    process?.afterEvents(0, () => {});
    node?.start();
  };
}

/** One node of those that share keys at a time, as is promised to be survived; and only where others hold what it held. */
function forgetful(
  world: World,
  stream: Stream,
  diskOf: (node: SimNode) => SortedEntries | undefined,
  condition: 'intact' | 'damaged' = 'intact',
): (() => void) | undefined {
  if (world.forgetting !== undefined || world.isAbstaining()) return undefined;
  if (Math.min(world.shape.nodes, world.shape.replication) < 2) return undefined;
  const node = upNode(world, stream);
  const disk = node && diskOf(node);
  if (node === undefined || disk === undefined) return undefined;
  world.forgets(node, disk);
  node.crash(true);
  return () => {
    node.crash(true);
    node.disk.restore(disk, condition);
    world.hasLost(node);
    node.start();
  };
}
