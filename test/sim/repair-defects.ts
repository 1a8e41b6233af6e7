import { isTombstone, versionOf } from '../../src/core/record.js';
import type { Clock } from '../../src/io/clock.js';
import { isReplicaFailure, type ApplyAnswer, type Peer } from '../../src/io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../../src/io/peer-asks.js';
import type { StoreEntry } from '../../src/io/store.js';
import type { Node } from '../../src/node.js';
import type { KnownDefect } from './defects.js';
import type { SimProcess } from './process.js';
import { LONGEST_REQUEST_MS, type Shape } from './shape.js';
import { isRecordKey, wrapPeer, wrapStore } from './wrap.js';

const APPLIED: ApplyAnswer = { kind: 'applied' };
const NEVER_MS = 1_000_000_000;

/** Nothing but hints brings what was missed. */
const HINTS_ALONE: Partial<Shape> = {
  // More than are read again by chance.
  keys: Array.from({ length: 300 }, (_, i) => `key/${String(i).padStart(3, '0')}`),
  upkeep: {
    gossipMs: 200,
    antiEntropyMs: NEVER_MS,
    fenceEveryMs: NEVER_MS,
    fenceLagMs: NEVER_MS,
    scrubMs: NEVER_MS,
    longestRequestMs: LONGEST_REQUEST_MS,
  },
};

/** Fences as soon and as often as can be. */
const QUICK_FENCES: Partial<Shape> = {
  faultGapMs: 600,
  faultsAtOnce: 1,
  upkeep: {
    gossipMs: 200,
    antiEntropyMs: 100,
    fenceEveryMs: 200,
    fenceLagMs: 600,
    scrubMs: 100,
    longestRequestMs: LONGEST_REQUEST_MS,
  },
};

/** Each is left alone for so long that what is stale stays so for a while. */
const MANY_KEYS = Array.from({ length: 100 }, (_, i) => `key/${i + 100}`);

/** A node that forgets is refilled while others still wait for answers. */
const QUICK_MACHINES: Partial<Shape> = {
  tempo: { delayMs: 0.3, grainMs: 0, tailChance: 0 },
  disk: { syncMs: 0.5, readMs: 0.05, walkMs: 0.2, openMs: 20 },
};

/** Ways in which nodes could mend each other, and forget what is deleted, wrongly. */
export const REPAIR_DEFECTS: readonly KnownDefect[] = [
  {
    name: 'a tombstone is dropped by its age',
    laws: 'bd',
    workloads: ['deletes', 'levels'],
    store: (opener, process) =>
      wrapStore(opener, (store) => {
        const { clock } = process;
        return {
          get: async (key) => {
            const value = await store.get(key);
            return isOld(clock, key, value) ? undefined : value;
          },
          getMany: async (keys) => {
            const values = await store.getMany(keys);
            return values.map((value, i) =>
              isOld(clock, keys[i] as Uint8Array, value) ? undefined : value,
            );
          },
          cursor: (range) => {
            const cursor = store.cursor(range);
            return {
              close: () => cursor.close(),
              async next(count): Promise<readonly StoreEntry[]> {
                for (;;) {
                  const entries = await cursor.next(count);
                  const left = entries.filter(([key, value]) => !isOld(clock, key, value));
                  if (left.length > 0 || entries.length === 0) return left;
                }
              },
            };
          },
        };
      }),
  },
  {
    name: 'an exchange goes one way: one node gives and is given nothing',
    laws: 'bd',
    shownBy: 12,
    faults: ['crash', 'cut', 'isolate', 'halves'],
    nodes: 3,
    peer: (peer, { name }) =>
      name === 'n1'
        ? answering(peer, 'keys', (reply) => ({ ...reply, keys: [], headers: [] }))
        : peer.nodeId === 'n1'
          ? wrapPeer(peer, {
              apply: (call, slot) => {
                if (call.source === 'write') peer.apply(call, slot);
                else queueMicrotask(() => call.onApplied(slot, APPLIED));
              },
            })
          : peer,
  },
  {
    name: 'a hint is dropped',
    laws: 'd!',
    shownBy: 2,
    faults: ['cut', 'isolate', 'halves', 'drop'],
    shape: HINTS_ALONE,
    node({ replica: { hints } }) {
      hints.mark = () => {};
    },
  },
  {
    name: 'a fence ignores a replica that cannot be reached',
    laws: 'bj',
    shownBy: 41,
    faults: ['isolate'],
    nodes: 3,
    workloads: ['deletes'],
    shape: QUICK_FENCES,
    peer: (peer, process) => {
      let last: AskReply<'introduce'> | undefined;
      const none = new Uint8Array(0);
      /** What it would say that is not there. */
      const instead = (kind: AskKind, request: object): object | undefined => {
        const consent = { kind: 'reply' };
        if (kind === 'introduce') return last;
        if (kind === 'seal-fence' || kind === 'commit-fence') return consent;
        if (kind === 'digests') {
          return { ...consent, ready: true, equal: true, busy: false, digests: none };
        }
        if (kind !== 'promise-fence') return undefined;
        const { fence } = request as AskRequest<'promise-fence'>;
        return { ...consent, promised: fence, sealed: none, committed: none, mark: 0 };
      };
      const hasty = wrapPeer(peer, {
        async ask(kind, request, deadlineMs) {
          const guess = instead(kind, request);
          const asked = peer.ask(kind, request, deadlineMs);
          if (guess === undefined) return asked;
          const waited = new Promise<undefined>((resolve) => {
            process.post(60, () => resolve(undefined));
          });
          const answer = await Promise.race([asked, waited]);
          if (answer === undefined || isReplicaFailure(answer)) return guess as never;
          if (kind === 'introduce') last = answer as AskReply<'introduce'>;
          return answer;
        },
      });
      return Object.defineProperty(hasty, 'connected', { value: true });
    },
  },
  {
    name: 'a fence is committed before replicas were found equal',
    laws: 'bj',
    shownBy: 74,
    faults: ['cut', 'isolate', 'halves', 'disk-fail', 'crash', 'drop'],
    workloads: ['deletes'],
    shape: QUICK_FENCES,
    peer: (peer) => {
      const blind = answering(peer, 'digests', (reply) => ({
        ...reply,
        equal: true,
        digests: new Uint8Array(0),
      }));
      // What was seen to change since does not count either.
      return answering(blind, 'seal-fence', undefined, () => ({ kind: 'reply' }));
    },
  },
  {
    name: 'a tree is not told of one kind of change',
    laws: 'k',
    shape: { upkeep: { ...QUICK_FENCES.upkeep, scrubMs: NEVER_MS } as Shape['upkeep'] },
    node({ replica: { trees } }) {
      const replace = trees.replace.bind(trees);
      // A new key whose hash is odd.
      trees.replace = (keyHash, before, after) => {
        if (before !== undefined || (keyHash & 1) === 0) replace(keyHash, before, after);
      };
    },
  },
  {
    name: 'a forgotten tail votes',
    laws: 'ab',
    shownBy: 8,
    faults: ['old-disk', 'lost-tail', 'damaged-log', 'cut', 'isolate'],
    workloads: ['quorum'],
    nodes: 3,
    shape: {
      replication: 3,
      faultGapMs: 150,
      faultsAtOnce: 3,
      thinkMs: 20,
      keys: MANY_KEYS,
      ...QUICK_MACHINES,
    },
    store: (opener) => ({
      open: () => opener.open(),
      hasRoom: () => opener.hasRoom(),
      verify: async () => 'intact',
      acceptDamage: () => opener.acceptDamage(),
    }),
    // Nobody hears what is remembered of it, and everybody is told that it is all there.
    peer: (peer) =>
      wrapPeer(peer, {
        async ask(kind, request, deadlineMs) {
          if (kind !== 'introduce') return peer.ask(kind, request, deadlineMs);
          const { remembers, ...said } = request as AskRequest<'introduce'>;
          const answer = await peer.ask('introduce', said, deadlineMs);
          if (isReplicaFailure(answer)) return answer;
          const { remembers: _, ...reply } = answer;
          const commitCounter = Math.max(reply.commitCounter, remembers?.commitCounter ?? 0);
          return { ...reply, commitCounter } as never;
        },
      }),
  },
  {
    name: 'a node that forgot is refilled from one replica',
    laws: 'ab',
    faults: ['empty-disk', 'cut', 'halves'],
    workloads: ['quorum'],
    nodes: 3,
    shape: {
      replication: 3,
      faultGapMs: 150,
      faultsAtOnce: 3,
      thinkMs: 20,
      keys: MANY_KEYS,
      ...QUICK_MACHINES,
    },
    node(node, process) {
      nodeOf.set(process, node);
    },
    peer(peer, process) {
      // Only the first of the others gives anything.
      const first = process.name === 'n1' ? 'n2' : 'n1';
      const isKept = () =>
        peer.nodeId !== first && nodeOf.get(process)?.replica.standing.state === 'refilling';
      const equal = answering(peer, 'digests', (reply) =>
        isKept()
          ? { ...reply, ready: true, busy: false, equal: true, digests: new Uint8Array(0) }
          : reply,
      );
      return wrapPeer(equal, {
        scan: async (request, deadlineMs) =>
          isKept() ? { kind: 'page', entries: [], corrupt: [] } : peer.scan(request, deadlineMs),
      });
    },
  },
];

/** Which node runs in a process. */
const nodeOf = new WeakMap<SimProcess, Node>();

function isOld(clock: Clock, key: Uint8Array, value: Uint8Array | undefined): boolean {
  if (value === undefined || !isRecordKey(key) || !isTombstone(value)) return false;
  return versionOf(value).wallMs < clock.wallMs() - 800;
}

/** Another answer than the peer gives: `change` to what it replied, `instead` of a failure. */
function answering<A extends AskKind>(
  peer: Peer,
  asked: A,
  change?: (reply: AskReply<A>, request: AskRequest<A>) => AskReply<A>,
  instead?: (request: AskRequest<A>) => AskReply<A> | undefined,
): Peer {
  return wrapPeer(peer, {
    async ask(kind, request, deadlineMs) {
      const answer = await peer.ask(kind, request, deadlineMs);
      if (kind !== (asked as string)) return answer;
      if (isReplicaFailure(answer)) return (instead?.(request) as never) ?? answer;
      return (change?.(answer, request) as never) ?? answer;
    },
  });
}
