import { ANSWERED } from '../../src/core/ledger.js';
import { decodeRecord, versionOf } from '../../src/core/record.js';
import type { Version } from '../../src/core/version.js';
import type { NodeAnswer } from '../../src/io/link.js';
import type {
  ApplyAnswer,
  ApplyCall,
  Peer,
  PrepareAnswer,
  PrepareCall,
} from '../../src/io/peer.js';
import { ALL_PROMISES } from '../../src/replica/layout.js';
import { Promises } from '../../src/replica/promises.js';
import { answeredIn } from '../core/answered-in.js';
import type { KnownDefect } from './defects.js';
import type { SimProcess } from './process.js';
import type { Shape } from './shape.js';
import {
  callLike,
  nameOf,
  restamped,
  retold,
  termsOf,
  withoutClockBound,
  wrapBatch,
  wrapCoordinator,
  wrapLinker,
  wrapPeer,
  wrapStore,
} from './wrap.js';

const APPLIED: ApplyAnswer = { kind: 'applied' };

const SLOW_MS = 100;

const ELSEWHERE: NodeAnswer = {
  code: 'UNAVAILABLE',
  outcome: 'none',
  message: 'another node is to be asked',
  record: undefined,
  shadow: undefined,
  receipt: undefined,
};

/** Many rounds of few keys at once, on a network slow enough for them to meet. */
const CROWDED: Partial<Shape> = {
  thinkMs: 20,
  roundKeys: ['lin/0', 'mix/0'],
  tempo: { delayMs: 5, grainMs: 1, tailChance: 0.1 },
};

/** What a node's own replica answers to the calls of its coordinator, for who counts it once more. */
class OwnAnswers<Answer> {
  readonly #answers = new WeakMap<object, Answer>();
  readonly #waiting = new WeakMap<object, ((answer: Answer) => void)[]>();

  answered(call: object, answer: Answer): void {
    this.#answers.set(call, answer);
    for (const hear of this.#waiting.get(call) ?? []) hear(answer);
  }

  again(call: object, hear: (answer: Answer) => void): void {
    const answer = this.#answers.get(call);
    if (answer !== undefined) queueMicrotask(() => hear(answer));
    else this.#waiting.set(call, [...(this.#waiting.get(call) ?? []), hear]);
  }
}

/** The same while messages are lost, and so rounds given up that one replica had heard of. */
const LOSSY: Pick<KnownDefect, 'nodes' | 'faults' | 'shape'> = {
  nodes: 3,
  faults: ['drop'],
  shape: {
    ...CROWDED,
    thinkMs: 10,
    tempo: { delayMs: 1, grainMs: 0.1, tailChance: 0.1 },
    faultGapMs: 100,
    faultsAtOnce: 1,
    faultLastsMs: [1_000],
  },
};

/** Ways in which rounds could be wrong. */
export const ROUND_DEFECTS: readonly KnownDefect[] = [
  {
    name: 'a promise is not on disk',
    laws: 'h',
    shownBy: 102,
    nodes: 3,
    // Nodes are there again before a round is over: one that is away for longer seldom meets it between its halves.
    faults: ['quick-crash'],
    workloads: ['linear'],
    shape: {
      ...CROWDED,
      clients: 4,
      thinkMs: 5,
      tempo: { delayMs: 1, grainMs: 0, tailChance: 0, reconnectMs: { low: 1, high: 5 } },
      disk: { syncMs: 0.5, readMs: 0.05, walkMs: 0.2, openMs: 5 },
      faultGapMs: 20,
      faultLastsMs: [1],
    },
    peer: (peer, process) => withSlowAccepts(peer, process, 0.7, SLOW_MS),
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
      promises.prepare = (call, holds, fence) => new Promises().prepare(call, holds, fence);
    },
  },
  {
    name: 'a replica says that it holds what a coordinator knows, whatever it holds',
    laws: 'h',
    shownBy: 3,
    workloads: ['linear'],
    shape: CROWDED,
    node({ replica }) {
      const prepare = replica.prepare.bind(replica);
      replica.prepare = (call, slot) => {
        const onPrepared = (_: number, answer: PrepareAnswer): void => {
          const agrees = answer.kind === 'promised' && call.known.length > 0;
          call.onPrepared(slot, agrees ? { kind: 'promised', header: call.known } : answer);
        };
        prepare(Object.create(call, { onPrepared: { value: onPrepared } }) as PrepareCall, slot);
      };
    },
  },
  {
    name: 'what is below a promise is applied, unless a round proposes it',
    laws: 'h',
    shownBy: 4,
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
    ...LOSSY,
    peer: (peer) => withoutApplying(peer, ({ source }) => source === 'copy'),
    coordinator: (coordinator) =>
      wrapCoordinator(coordinator, ({ kind, level }) =>
        kind === 'get' && level === 'LINEARIZABLE' ? { level: 'QUORUM' } : {},
      ),
  },
  {
    name: 'a lost compare-and-set does not write back what it found',
    laws: 'h',
    shownBy: 2,
    workloads: ['linear'],
    ...LOSSY,
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
    shownBy: 135,
    workloads: ['linear'],
    shape: CROWDED,
    node({ replica }) {
      const stamp = replica.stamp.bind(replica);
      replica.stamp = async () => blunt(await stamp());
    },
  },
  {
    // Of a writer that is drawn once, whose clock begins below what it has issued. A ballot that was prepared is harmless: promises must
    // be above all that was promised and is held. One that a lease has saved the prepare for is still promised to that writer.
    name: 'ballots are used again after a restart',
    laws: 'h',
    shownBy: 10,
    nodes: 3,
    faults: ['quick-crash'],
    workloads: ['linear'],
    shape: {
      ...CROWDED,
      roundKeys: ['lin/0'],
      clients: 4,
      thinkMs: 5,
      tempo: { delayMs: 0.3, grainMs: 0, tailChance: 0, reconnectMs: { low: 1, high: 5 } },
      disk: { syncMs: 0.5, readMs: 0.05, walkMs: 0.2, openMs: 1 },
      skewMs: 0,
      faultGapMs: 60,
      faultsAtOnce: 1,
      faultLastsMs: [1],
    },
    // Requests go to one node alone, and go on as soon as it is there again: nobody else passes what it had proposed.
    linker: (linker, process) =>
      wrapLinker(linker, (call, link) => {
        if (link.welcome?.nodeId === 'n1') link.send(call);
        else process.post(1, () => call.onAnswer(ELSEWHERE));
      }),
    peer: (peer, process) => withSlowAccepts(peer, process, 1, SLOW_MS / 4),
    store: withoutClockBound,
    node({ replica }, process) {
      const { clock, host } = process;
      clock.setSkew(-process.random.fraction() * SLOW_MS);
      process.post(SLOW_MS / 2, () => clock.setSkew(0));
      const stamp = replica.stamp.bind(replica);
      replica.stamp = async () => ({ ...(await stamp()), writerHi: 0, writerLo: host });
    },
  },
  {
    name: 'a replica counts twice',
    laws: 'h',
    nodes: 3,
    workloads: ['linear'],
    shape: CROWDED,
    ...countedTwice(),
  },
  {
    name: 'the id of a request is forgotten with its first attempt',
    laws: 'h',
    shownBy: 3,
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

/** Whatever the own replica of a coordinator answers is taken for the answers of the others, too. */
function countedTwice(): Pick<KnownDefect, 'node' | 'peer'> {
  const promised = new OwnAnswers<PrepareAnswer>();
  const accepted = new OwnAnswers<ApplyAnswer>();
  return {
    node({ replica }) {
      const prepare = replica.prepare.bind(replica);
      replica.prepare = (call, slot) => {
        const onPrepared = (_: number, answer: PrepareAnswer): void => {
          promised.answered(call, answer);
          call.onPrepared(slot, answer);
        };
        prepare(Object.create(call, { onPrepared: { value: onPrepared } }) as PrepareCall, 0);
      };
      const itself = wrapPeer(replica, { apply: replica.apply.bind(replica) });
      const told = retold(itself, (call, answer) => {
        accepted.answered(call, answer);
        return answer;
      });
      replica.apply = (call, slot) => told.apply(call, slot);
    },
    peer: (peer) => {
      return wrapPeer(peer, {
        prepare: (call, slot) => promised.again(call, (answer) => call.onPrepared(slot, answer)),
        apply: (call, slot) => {
          if (call.source !== 'accept') {
            peer.apply(call, slot);
            return;
          }
          peer.apply({ ...termsOf(call), onApplied: () => {} }, slot);
          accepted.again(call, (answer) => call.onApplied(slot, answer));
        },
      });
    },
  };
}

/** What a slow network may do: between the halves of a round there is time for a node to start again. */
function withSlowAccepts(peer: Peer, process: SimProcess, chance: number, slowMs: number): Peer {
  return wrapPeer(peer, {
    apply: (call, slot) => {
      const isSlow = call.source === 'accept' && process.random.fraction() < chance;
      if (isSlow) process.post(process.random.fraction() * slowMs, () => peer.apply(call, slot));
      else peer.apply(call, slot);
    },
  });
}

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
  const ledger = decodeRecord(record)?.ledger;
  return ledger === undefined ? undefined : answeredIn(ledger).at(-1)?.result;
}

/** Coarse, and the same for all nodes. */
function blunt(version: Version): Version {
  return { wallMs: Math.ceil(version.wallMs / 32) * 32, logical: 0, writerHi: 0, writerLo: 0 };
}
