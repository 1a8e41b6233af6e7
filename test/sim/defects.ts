import { hash32 } from '../../src/core/hash.js';
import {
  compareRecords,
  decodeRecord,
  encodeRecord,
  expiryOf,
  isIntact,
  isTombstone,
  versionOf,
} from '../../src/core/record.js';
import { formatVersion } from '../../src/core/version.js';
import type { Linker, NodeAnswer } from '../../src/io/link.js';
import { isReplicaFailure, type ApplyAnswer, type ReplicaFailure } from '../../src/io/peer.js';
import { userKeyOf } from '../../src/replica/layout.js';
import type { Defect } from './defect.js';
import type { FaultName } from './faults.js';
import { EARLIER_LIFE_DEFECTS } from './earlier-life-defects.js';
import type { SimProcess } from './process.js';
import { REPAIR_DEFECTS } from './repair-defects.js';
import { ROUND_DEFECTS } from './round-defects.js';
import type { Shape } from './shape.js';
import type { WorkloadName } from './workload.js';
import {
  callLike,
  isRecordKey,
  nameOf,
  restamped,
  retold,
  withoutClockBound,
  wrapBatch,
  wrapCoordinator,
  wrapLinker,
  wrapPeer,
  wrapStore,
} from './wrap.js';

/** A defect, where it shows, and by which law. */
export interface KnownDefect extends Defect {
  /** The letters of the laws of which at least one has to speak. */
  readonly laws: string;
  /** Default: every fault. */
  readonly faults?: readonly FaultName[];
  /** Default: as the seed says. */
  readonly nodes?: number;
  /** Default: every workload. */
  readonly workloads?: readonly WorkloadName[];
  /** What else a run of it is drawn like. */
  readonly shape?: Partial<Shape>;
  /** A seed that showed it when it was last looked for: where the search begins. Default: 1. */
  readonly shownBy?: number;
}

const APPLIED: ApplyAnswer = { kind: 'applied' };

export const DEFECTS: readonly KnownDefect[] = [
  {
    name: 'writes are not synced',
    laws: 'abd',
    shownBy: 2,
    faults: ['power'],
    store: (opener) =>
      wrapStore(opener, (store) => ({
        batch: () => {
          const batch = store.batch();
          return wrapBatch(batch, { commit: () => batch.commit({ sync: false }) });
        },
      })),
  },
  {
    name: 'a write is acknowledged before it is on disk',
    laws: 'ab',
    store: (opener) =>
      wrapStore(opener, (store) => ({
        batch: () => {
          const batch = store.batch();
          return wrapBatch(batch, {
            commit: async (options) => {
              batch.commit(options).catch(() => {});
            },
          });
        },
      })),
  },
  {
    name: 'a failed sync is taken for a success',
    laws: 'ab',
    shownBy: 2,
    faults: ['disk-fail', 'crash'],
    store: (opener) =>
      wrapStore(opener, (store) => ({
        batch: () => {
          const batch = store.batch();
          return wrapBatch(batch, {
            commit: (options) => batch.commit(options).catch(() => {}),
          });
        },
      })),
  },
  {
    name: 'reads see what is not yet synced',
    laws: 'b',
    shownBy: 2,
    // With more nodes the others have it as well, and nobody sees that one lost it.
    nodes: 1,
    faults: ['crash', 'power', 'disk-slow'],
    workloads: ['hot'],
    store: (opener, process) =>
      wrapStore(opener, (store) => {
        const ahead = new Map<string, Uint8Array>();
        return {
          get: async (key) => ahead.get(nameOf(key)) ?? (await store.get(key)),
          getMany: async (keys) => {
            const found = await store.getMany(keys);
            return found.map((value, i) => ahead.get(nameOf(keys[i] as Uint8Array)) ?? value);
          },
          batch: () => {
            const batch = store.batch();
            return wrapBatch(batch, {
              put: (key, value) => {
                if (isRecordKey(key)) ahead.set(nameOf(key), Uint8Array.from(value));
                batch.put(key, value);
              },
              // Long enough for others to read it.
              commit: async (options) => {
                await new Promise<void>((resolve) => process.post(30, resolve));
                await batch.commit(options);
              },
            });
          },
        };
      }),
  },
  {
    name: 'reads skip the repair of replicas that lag',
    laws: 'b',
    shownBy: 16,
    peer: (peer) =>
      wrapPeer(peer, {
        apply: (call, slot) => {
          if (call.source === 'write') peer.apply(call, slot);
          else queueMicrotask(() => call.onApplied(slot, APPLIED));
        },
      }),
  },
  {
    name: 'a read is answered over a repair that failed',
    laws: 'b',
    shownBy: 2,
    faults: ['disk-full', 'disk-fail', 'drop', 'pause', 'isolate'],
    workloads: ['levels', 'hot', 'late'],
    peer: (peer) =>
      retold(peer, (call, answer) =>
        call.source === 'copy' && isReplicaFailure(answer) ? APPLIED : answer,
      ),
  },
  {
    name: 'a failed replica is counted as an acknowledgement',
    laws: 'ab',
    shownBy: 2,
    peer: (peer) => retold(peer, (_, answer) => (isReplicaFailure(answer) ? APPLIED : answer)),
  },
  {
    name: 'a replica takes a lower version over a higher one',
    laws: 'abd',
    store: (opener) =>
      wrapStore(opener, (store) => {
        const newest = new Map<string, Uint8Array>();
        let batches = 0;
        return {
          batch: () => {
            const batch = store.batch();
            batches++;
            return wrapBatch(batch, {
              put: (key, value) => {
                const before = newest.get(nameOf(key));
                newest.set(nameOf(key), Uint8Array.from(value));
                const older = isRecordKey(key) && before !== undefined && batches % 20 === 0;
                batch.put(key, older && compareRecords(before, value) < 0 ? before : value);
              },
            });
          },
        };
      }),
  },
  {
    name: 'expiry is taken as a version',
    laws: 'abdi',
    workloads: ['expiring'],
    store: (opener) =>
      wrapStore(opener, (store) => {
        const newest = new Map<string, Uint8Array>();
        return {
          batch: () => {
            const batch = store.batch();
            return wrapBatch(batch, {
              put: (key, value) => {
                const before = newest.get(nameOf(key));
                const loses =
                  isRecordKey(key) && before !== undefined && endOf(value) < endOf(before);
                const kept = loses ? before : Uint8Array.from(value);
                newest.set(nameOf(key), kept);
                batch.put(key, kept);
              },
            });
          },
        };
      }),
  },
  {
    name: 'what has expired is served',
    laws: 'i',
    workloads: ['expiring'],
    coordinator: (coordinator) => {
      const alive = new Map<string, Uint8Array>();
      return wrapCoordinator(coordinator, (operation) => ({
        onAnswer: (answer) => {
          const { record } = answer;
          const name = nameOf(operation.key);
          const before = alive.get(name);
          if (record !== undefined && !isTombstone(record)) alive.set(name, record);
          const expired = record !== undefined && before !== undefined && isTombstone(record);
          operation.onAnswer(
            expired && sameVersion(before, record) ? { ...answer, record: before } : answer,
          );
        },
      }));
    },
  },
  {
    name: 'a retry begins its time to live anew',
    laws: 'di',
    shownBy: 2,
    workloads: ['expiring'],
    linker(linker) {
      const sent = new Set<string>();
      return wrapLinker(linker, (call, link) => {
        const fields = call.kind === 'put' ? decodeRecord(call.record) : undefined;
        if (fields?.expiresAtMs === undefined) {
          link.send(call);
          return;
        }
        const name = `${nameOf(call.key)} ${formatVersion(fields.version)}`;
        const again = { ...fields, expiresAtMs: fields.expiresAtMs + 100 };
        link.send(
          sent.has(name) ? callLike(call, { record: encodeRecord(call.key, again) }) : call,
        );
        sent.add(name);
      });
    },
  },
  {
    name: 'the bound of the clock is lost in a restart',
    laws: 'e',
    shownBy: 32,
    faults: ['crash', 'power', 'jump', 'skew'],
    workloads: ['unstamped'],
    store: withoutClockBound,
  },
  {
    name: 'ties are broken differently on each node',
    laws: 'd',
    shownBy: 16,
    linker: cloneWriters,
    store: (opener, { name }) =>
      wrapStore(opener, (store) => {
        const first = new Map<string, Uint8Array>();
        return {
          batch: () => {
            const batch = store.batch();
            return wrapBatch(batch, {
              put: (key, value) => {
                const held = first.get(nameOf(key));
                const tie = held !== undefined && isRecordKey(key) && sameVersion(held, value);
                const kept = tie && name === 'n1' ? held : value;
                first.set(nameOf(key), Uint8Array.from(kept));
                batch.put(key, kept);
              },
            });
          },
        };
      }),
  },
  {
    name: 'a retry is stamped anew',
    laws: 'f',
    shownBy: 2,
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
        if (before === 0) {
          link.send(call);
          return;
        }
        const later = { ...version, logical: version.logical + before };
        link.send(callLike(call, { record: restamped(call.key, call.record, later) }));
      });
    },
  },
  {
    name: 'a write is stamped anew while an earlier attempt is open',
    laws: 'f',
    linker(linker, process: SimProcess) {
      const sent = new Set<string>();
      return wrapLinker(linker, (call, link) => {
        const name = nameOf(call.key);
        if (call.kind !== 'put' || sent.has(name)) {
          sent.delete(name);
          link.send(call);
          return;
        }
        sent.add(name);
        link.send(callLike(call, { onAnswer: () => {} }));
        process.post(1, () => call.onAnswer(refusal('CLOCK_DRIFT')));
      });
    },
  },
  {
    name: 'an unreadable record is taken for absent, and overwritten',
    laws: 'abcd',
    shownBy: 29,
    faults: ['bit-flip'],
    store: (opener) =>
      wrapStore(opener, (store) => ({
        get: async (key) => readable(key, await store.get(key)),
        getMany: async (keys) => {
          const found = await store.getMany(keys);
          return found.map((value, i) => readable(keys[i] as Uint8Array, value));
        },
      })),
  },
  {
    name: 'a write past its deadline is answered as if it had not happened',
    laws: 'g',
    shownBy: 241,
    coordinator: (coordinator) =>
      wrapCoordinator(coordinator, (operation) => ({
        onAnswer: (answer) =>
          operation.onAnswer(answer.code === 'TIMED_OUT' ? { ...answer, outcome: 'none' } : answer),
      })),
  },
  {
    name: 'a replica refuses as late what it then applies',
    laws: 'g',
    shownBy: 5,
    faults: ['disk-full', 'disk-fail', 'drop', 'isolate'],
    replica: (replica) => {
      let calls = 0;
      return retold(replica, (_, answer) => {
        const late: ReplicaFailure = { kind: 'refused', code: 'TIMED_OUT', message: 'late' };
        return calls++ % 2 === 0 ? late : answer;
      });
    },
    peer: (peer) =>
      retold(peer, (_, answer) => (answer.kind === 'failed' ? asRefused(answer) : answer)),
  },
  {
    name: 'QUORUM reads ask one replica',
    laws: 'b',
    shownBy: 2,
    coordinator: (coordinator) =>
      wrapCoordinator(coordinator, ({ kind }) => (kind === 'get' ? { level: 'ONE' } : {})),
  },
  {
    name: 'QUORUM writes wait for one replica',
    laws: 'ab',
    coordinator: (coordinator) =>
      wrapCoordinator(coordinator, ({ kind }) => (kind === 'put' ? { level: 'ONE' } : {})),
  },
  {
    name: 'scans ask one replica of each partition',
    laws: 'b',
    workloads: ['scans', 'deletes', 'batches'],
    coordinator: (coordinator) => ({
      ...wrapCoordinator(coordinator, () => ({})),
      scan: (request, deadlineMs, signal) =>
        coordinator.scan({ ...request, level: 'ONE' }, deadlineMs, signal),
    }),
  },
  {
    name: 'minVersion is not passed on',
    laws: 'b',
    shownBy: 5,
    workloads: ['sessions'],
    linker: (linker) =>
      wrapLinker(linker, (call, link) =>
        link.send(call.kind === 'get' ? callLike(call, { minVersion: new Uint8Array(0) }) : call),
      ),
  },
  ...REPAIR_DEFECTS,
  ...EARLIER_LIFE_DEFECTS,
  ...ROUND_DEFECTS,
];

/** A record that can be read, and whatever is no record. */
function readable(key: Uint8Array, value: Uint8Array | undefined): Uint8Array | undefined {
  if (value === undefined || !isRecordKey(key)) return value;
  return isIntact(hash32(userKeyOf(key)), value) ? value : undefined;
}

/** Every SDK stamps as if it were the same process, on a clock that ticks ten times a second: equal versions are common. */
export function cloneWriters(linker: Linker): Linker {
  return wrapLinker(linker, (call, link) => {
    if (call.kind !== 'put') {
      link.send(call);
      return;
    }
    const { wallMs } = versionOf(call.record);
    const shared = { wallMs: wallMs - (wallMs % 100), logical: 0, writerHi: 1, writerLo: 1 };
    link.send(callLike(call, { record: restamped(call.key, call.record, shared) }));
  });
}

/** The version that a record would have whose expiry counted as one. */
function endOf(record: Uint8Array): number {
  return expiryOf(record) ?? versionOf(record).wallMs;
}

function sameVersion(a: Uint8Array, b: Uint8Array): boolean {
  return JSON.stringify(versionOf(a)) === JSON.stringify(versionOf(b));
}

function asRefused(failure: ReplicaFailure): ReplicaFailure {
  return { ...failure, kind: 'refused' };
}

function refusal(code: NodeAnswer['code']): NodeAnswer {
  return {
    code,
    outcome: 'none',
    message: 'refused on purpose',
    record: undefined,
    shadow: undefined,
    receipt: undefined,
  };
}
