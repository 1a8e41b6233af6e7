import type { Peer, ReplicaFailure } from '../../src/io/peer.js';
import { LocalReplica } from '../../src/replica/local-replica.js';
import type { KnownDefect } from './defects.js';
import type { SimProcess } from './process.js';
import { LONGEST_REQUEST_MS, type Shape } from './shape.js';
import { wrapPeer } from './wrap.js';

const NEVER_MS = 1_000_000_000;
/** Longer than it takes to lose a disk and to be refilled. */
const SLOW_MS = 600;
/** Long enough for a record to be damaged, found and mended, and not for whoever waits. */
const LATE_MS = 900;
/** For so long replicas do not compare what they hold. */
const ALONE_MS = 6_000;

const NO_UPKEEP: Shape['upkeep'] = {
  gossipMs: 200,
  antiEntropyMs: NEVER_MS,
  fenceEveryMs: NEVER_MS,
  fenceLagMs: NEVER_MS,
  scrubMs: NEVER_MS,
  longestRequestMs: LONGEST_REQUEST_MS,
};

/**
 * Three nodes on quick machines that lose their disks, and so many keys that what one write missed is seldom read or written
 * again: nothing but a refill brings it.
 */
const FORGETFUL: Pick<KnownDefect, 'nodes' | 'faults' | 'workloads' | 'shape'> = {
  nodes: 3,
  faults: ['empty-disk'],
  workloads: ['deletes'],
  shape: {
    keys: Array.from({ length: 300 }, (_, i) => `key/${String(i).padStart(3, '0')}`),
    thinkMs: 20,
    faultGapMs: 400,
    faultsAtOnce: 1,
    tempo: { delayMs: 0.3, grainMs: 0, tailChance: 0 },
    disk: { syncMs: 0.5, readMs: 0.05, walkMs: 0.2, openMs: 5 },
    upkeep: NO_UPKEEP,
  },
};

const BUSY: ReplicaFailure = {
  kind: 'refused',
  code: 'UNAVAILABLE',
  message: 'refused on purpose',
};

/** An answer that was given before a disk, or a record, was lost, and is counted nevertheless. */
export const EARLIER_LIFE_DEFECTS: readonly KnownDefect[] = [
  {
    name: 'an answer of an earlier life is counted',
    laws: 'ab',
    shownBy: 7,
    ...FORGETFUL,
    ...countedTooLong(),
  },
  {
    name: 'a record is mended while a write that counted it is under way',
    laws: 'ab',
    shownBy: 2,
    nodes: 3,
    faults: ['bit-flip'],
    workloads: ['quorum'],
    shape: {
      ...FORGETFUL.shape,
      keys: Array.from({ length: 30 }, (_, i) => `key/${i + 10}`),
      thinkMs: 5,
      faultGapMs: 100,
      faultsAtOnce: 5,
      upkeep: { ...NO_UPKEEP, antiEntropyMs: 50, scrubMs: 2 },
    },
    // Nothing but the write itself brings it to a second replica, and late.
    peer: (peer, process) => {
      const second = missingTheThird(peer, process);
      return wrapPeer(peer, {
        apply: (call, slot) => void process.post(LATE_MS, () => second.apply(call, slot)),
        ask: async (kind, request, deadlineMs) =>
          kind === 'digests' && process.clock.monotonicMs() < ALONE_MS
            ? BUSY
            : peer.ask(kind, request, deadlineMs),
      });
    },
    node({ replica }) {
      Object.defineProperty(replica, 'corruptKeys', {
        get(this: LocalReplica) {
          const keys = Reflect.get(LocalReplica.prototype, 'corruptKeys', this);
          return keys.map((key) => ({ ...key, uncountedFromMs: 0 }));
        },
      });
    },
  },
];

/** Of each write the next node hears, and the one after that does not. */
function missingTheThird(peer: Peer, { name }: SimProcess): Peer {
  const isNext = Number(peer.nodeId.slice(1)) === (Number(name.slice(1)) % 3) + 1;
  return wrapPeer(peer, {
    apply(call, slot) {
      if (call.source !== 'write' || isNext) peer.apply(call, slot);
    },
  });
}

/** The own replica is so slow to take a write that the other one may have forgotten it by then. */
function countedTooLong(): Pick<KnownDefect, 'peer' | 'node' | 'replica'> {
  const applies = new WeakMap<Peer, Peer['apply']>();
  return {
    peer: missingTheThird,
    node({ replica }, process) {
      replica.memory.changedAt = () => 0;
      const apply: Peer['apply'] = replica.apply.bind(replica);
      applies.set(replica, apply);
      replica.apply = (call, slot) => void process.post(SLOW_MS, () => apply(call, slot));
    },
    // Not so for others.
    replica: (replica) =>
      wrapPeer(replica, { apply: (call, slot) => applies.get(replica)?.(call, slot) }),
  };
}
