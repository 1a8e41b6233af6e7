import { FENCE_BYTES } from '../../src/core/fence.js';
import { ANSWERED } from '../../src/core/ledger.js';
import { PARTITION_SET_BYTES } from '../../src/core/partition-set.js';
import { decodeRecord, versionOf } from '../../src/core/record.js';
import type { Version } from '../../src/core/version.js';
import type { ApplyAnswer, ApplyCall, Peer } from '../../src/io/peer.js';
import { ALL_PROMISES } from '../../src/replica/layout.js';
import type { KnownDefect } from './defects.js';
import type { Shape } from './shape.js';
import {
  callLike,
  nameOf,
  restamped,
  retold,
  wrapBatch,
  wrapCoordinator,
  wrapLinker,
  wrapPeer,
  wrapStore,
} from './wrap.js';

const APPLIED: ApplyAnswer = { kind: 'applied' };

const ALL_PARTITIONS = new Uint8Array(PARTITION_SET_BYTES).fill(0xff);
const ABOVE_ALL = new Uint8Array(FENCE_BYTES).fill(0xff);
const NO_KEY = new Uint8Array(0);
const LOST_EVERY_MS = 10;

/** Many rounds of few keys at once, on a network slow enough for them to meet. */
const CROWDED: Partial<Shape> = {
  thinkMs: 20,
  roundKeys: ['lin/0', 'mix/0'],
  tempo: { delayMs: 5, grainMs: 1, tailChance: 0.1 },
};

/** Ways in which rounds could be wrong. */
export const ROUND_DEFECTS: readonly KnownDefect[] = [
  {
    name: 'a promise is not on disk',
    laws: 'h',
    nodes: 3,
    faults: ['crash'],
    workloads: ['linear'],
    shape: CROWDED,
    // A crash that is over at once: one that takes its time seldom meets a round between its two steps.
    node({ replica: { promises } }, process) {
      const lose = (): void => {
        const keys = promises.sorted(ALL_PARTITIONS, NO_KEY).map(({ key }) => key);
        promises.drop(keys, ABOVE_ALL);
        process.post(LOST_EVERY_MS, lose);
      };
      lose();
    },
    store: (opener) =>
      wrapStore(opener, (store) => ({
        batch: () => {
          const batch = store.batch();
          return wrapBatch(batch, {
            put: (key, value) => {
              if (key[0] !== ALL_PROMISES.gte[0]) batch.put(key, value);
            },
          });
        },
      })),
  },
  {
    name: 'a replica promises every ballot and keeps to none',
    laws: 'h',
    workloads: ['linear'],
    shape: CROWDED,
    node({ replica: { promises } }) {
      promises.raise = () => {};
    },
  },
  {
    name: 'what is below a promise is applied, unless a round proposes it',
    laws: 'h',
    shownBy: 9,
    workloads: ['mixed'],
    shape: CROWDED,
    node({ replica: { promises } }) {
      const judge = promises.judge.bind(promises);
      promises.judge = (call, holds) => (call.source === 'accept' ? judge(call, holds) : undefined);
    },
  },
  {
    name: 'a LINEARIZABLE read does not write back what it answers',
    laws: 'h',
    shownBy: 7,
    workloads: ['linear'],
    shape: CROWDED,
    peer: (peer) => withoutApplying(peer, ({ source }) => source === 'copy'),
    coordinator: (coordinator) =>
      wrapCoordinator(coordinator, ({ kind, level }) =>
        kind === 'get' && level === 'LINEARIZABLE' ? { level: 'QUORUM' } : {},
      ),
  },
  {
    name: 'a lost compare-and-set does not write back what it found',
    laws: 'h',
    workloads: ['linear'],
    shape: CROWDED,
    peer: (peer) => withoutApplying(peer, ({ record }) => lastResult(record) === ANSWERED.lost),
    node({ replica }) {
      const apply = replica.apply.bind(replica);
      replica.apply = (call, slot) => {
        if (lastResult(call.record) === ANSWERED.lost) {
          queueMicrotask(() => call.onApplied(slot, APPLIED));
        } else apply(call, slot);
      };
    },
  },
  {
    name: 'ballots are used again',
    laws: 'h',
    shownBy: 26,
    workloads: ['linear'],
    shape: CROWDED,
    node({ replica }) {
      const stamp = replica.stamp.bind(replica);
      replica.stamp = async () => blunt(await stamp());
    },
  },
  {
    name: 'one replica is counted as a majority',
    laws: 'h',
    nodes: 3,
    workloads: ['linear'],
    shape: CROWDED,
    peer: (peer) => {
      const counted = retold(peer, (call, answer) => (call.source === 'accept' ? APPLIED : answer));
      return wrapPeer(counted, {
        prepare: (call, slot) => queueMicrotask(() => call.onPrepared(slot, { kind: 'promised' })),
      });
    },
  },
  {
    name: 'the id of a request is forgotten with its first attempt',
    laws: 'h',
    workloads: ['linear'],
    shape: CROWDED,
    linker(linker) {
      const sent = new Map<string, number>();
      return wrapLinker(linker, (call, link) => {
        if (call.kind !== 'put') {
          link.send(call);
          return;
        }
        const version = versionOf(call.record);
        const name = `${nameOf(call.key)} ${version.wallMs} ${version.logical}`;
        const before = sent.get(name) ?? 0;
        sent.set(name, before + 1);
        const later = { ...version, logical: version.logical + before };
        link.send(callLike(call, { record: restamped(call.key, call.record, later) }));
      });
    },
  },
];

/** Calls of which this is so are answered as if they had been carried out. */
function withoutApplying(peer: Peer, isLost: (call: ApplyCall) => boolean): Peer {
  return wrapPeer(peer, {
    apply: (call, slot) => {
      if (isLost(call)) queueMicrotask(() => call.onApplied(slot, APPLIED));
      else peer.apply(call, slot);
    },
  });
}

/** What the record says of the request that was answered last. */
function lastResult(record: Uint8Array): number | undefined {
  return decodeRecord(record)?.ledger?.answered.at(-1)?.result;
}

/** Coarse, and the same for all nodes. */
function blunt(version: Version): Version {
  return { wallMs: Math.ceil(version.wallMs / 32) * 32, logical: 0, writerHi: 0, writerLo: 0 };
}
