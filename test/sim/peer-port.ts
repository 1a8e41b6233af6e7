import { hash32 } from '../../src/core/hash.js';
import { headerOf, versionOf } from '../../src/core/record.js';
import { formatVersion } from '../../src/core/version.js';
import { isReplicaFailure } from '../../src/io/peer.js';
import type {
  ApplyAnswer,
  ApplyCall,
  ApplySource,
  Lives,
  Peer,
  PeerEvents,
  PingAnswer,
  PingRequest,
  PrepareAnswer,
  PrepareCall,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../../src/io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../../src/io/peer-asks.js';
import type { Channel, IncomingCall, NoAnswer } from './channel.js';
import type { SimProcess } from './process.js';

/** What a node says to another one: the calls of the peer port, with bytes of their own. */
export type PeerMessage =
  | {
      readonly kind: 'apply';
      readonly key: Uint8Array;
      readonly record: Uint8Array;
      readonly source: ApplySource;
      readonly fence: Uint8Array;
      readonly placementVersion: number;
    }
  | {
      readonly kind: 'read';
      readonly key: Uint8Array;
      readonly part: 'record' | 'header';
      readonly placementVersion: number;
    }
  | {
      readonly kind: 'prepare';
      readonly key: Uint8Array;
      readonly ballot: Uint8Array;
      readonly above: Uint8Array;
      readonly known: Uint8Array;
      readonly placementVersion: number;
    }
  | { readonly kind: 'replica-scan'; readonly scan: ReplicaScan }
  | { readonly kind: 'peer-ping'; readonly request: PingRequest }
  | { readonly kind: 'ask'; readonly ask: AskKind; readonly request: object };

const NO_BYTES = new Uint8Array(0);

/** What a node says of itself when it greets, and with every answer to another node. */
export interface SenderState {
  readonly lives: Lives;
  readonly commitCounter: number;
}

interface Answered extends SenderState {
  readonly answer: object;
}

/** Bytes beside keys and records that a message has, roughly. */
const CALL_BYTES = 40;

/** Another node's replica, over a simulated channel: the twin of `wire/peer-link.ts`, with the same failure kinds. */
export function createSimPeer(
  nodeId: string,
  process: SimProcess,
  channel: Channel,
  events: PeerEvents,
): Peer {
  let heard: Lives | undefined;
  const hear = ({ lives, commitCounter }: SenderState): void => {
    if (lives !== heard) {
      heard = lives;
      events.onLives(structuredClone(lives));
    }
    events.onCommitCounter(commitCounter);
  };
  channel.onState = (state) => {
    if (state.kind !== 'open') return;
    heard = undefined;
    hear(state.greeting as SenderState);
    events.onConnected();
  };
  const leftMs = (deadlineMs: number) => Math.max(deadlineMs - process.clock.monotonicMs(), 0);
  const ask = (
    message: PeerMessage,
    bytes: number,
    deadlineMs: number,
    settle: (answer: object) => void,
  ) => {
    channel.call(message, bytes, leftMs(deadlineMs), (reply, none) => {
      if (none !== undefined) {
        settle(failureOf(none));
        return;
      }
      const { answer, ...sender } = reply as Answered;
      // A real channel delivers answers in the order in which they were given: none arrives after news of a later life.
      if (isOlderLife(sender.lives, heard)) {
        settle(failureOf({ kind: 'broken', message: 'it was answered in an earlier life' }));
        return;
      }
      hear(sender);
      settle(answer);
    });
  };
  return {
    nodeId,
    get connected() {
      return channel.server !== undefined;
    },
    apply(call, slot) {
      const { source, placementVersion } = call;
      const fence = Uint8Array.from(call.fence);
      const key = Uint8Array.from(call.key);
      const record = Uint8Array.from(call.record);
      const bytes = CALL_BYTES + key.length + record.length;
      const message: PeerMessage = { kind: 'apply', key, record, source, fence, placementVersion };
      ask(message, bytes, call.deadlineMs, (answer) => call.onApplied(slot, answer as ApplyAnswer));
    },
    read(call, slot, part) {
      const key = Uint8Array.from(call.key);
      const { placementVersion } = call;
      const message: PeerMessage = { kind: 'read', key, part, placementVersion };
      ask(message, CALL_BYTES + key.length, call.deadlineMs, (answer) =>
        call.onRead(slot, answer as ReadAnswer),
      );
    },
    prepare(call, slot) {
      const key = Uint8Array.from(call.key);
      const ballot = Uint8Array.from(call.ballot);
      const above = Uint8Array.from(call.above);
      const known = Uint8Array.from(call.known);
      const { placementVersion } = call;
      const message: PeerMessage = { kind: 'prepare', key, ballot, above, known, placementVersion };
      ask(message, CALL_BYTES + key.length + known.length, call.deadlineMs, (answer) =>
        call.onPrepared(slot, answer as PrepareAnswer),
      );
    },
    scan: (request, deadlineMs) =>
      new Promise<ReplicaPage | ReplicaFailure>((resolve) => {
        const scan: ReplicaScan = {
          ...request,
          gte: Uint8Array.from(request.gte),
          lt: Uint8Array.from(request.lt),
          partitions: Uint8Array.from(request.partitions),
          whole: Uint8Array.from(request.whole),
        };
        ask({ kind: 'replica-scan', scan }, CALL_BYTES + 64, deadlineMs, (answer) =>
          resolve(answer as ReplicaPage | ReplicaFailure),
        );
      }),
    ping: (request, deadlineMs) =>
      new Promise<PingAnswer | ReplicaFailure>((resolve) => {
        ask(
          { kind: 'peer-ping', request: structuredClone(request) },
          CALL_BYTES,
          deadlineMs,
          (answer) => resolve(answer as PingAnswer | ReplicaFailure),
        );
      }),
    ask: <K extends AskKind>(kind: K, request: AskRequest<K>, deadlineMs: number) =>
      new Promise<AskReply<K> | ReplicaFailure>((resolve) => {
        const message: PeerMessage = { kind: 'ask', ask: kind, request: structuredClone(request) };
        ask(message, CALL_BYTES, deadlineMs, (answer) =>
          resolve(answer as AskReply<K> | ReplicaFailure),
        );
      }),
  };
}

/** The serving side: hands a call that arrived to the node's own replica, and sends its answer back. */
export function servePeerCall(
  replica: Peer,
  sender: SenderState,
  process: SimProcess,
  incoming: IncomingCall,
): void {
  const call: IncomingCall = {
    body: incoming.body,
    bytes: incoming.bytes,
    timeoutMs: incoming.timeoutMs,
    onCancel: undefined,
    reply: (answer, bytes) => {
      const { lives, commitCounter } = sender;
      incoming.reply({ answer, lives, commitCounter } satisfies Answered, bytes);
    },
  };
  const message = call.body as PeerMessage;
  const deadlineMs = process.clock.monotonicMs() + call.timeoutMs;
  switch (message.kind) {
    case 'apply':
      replica.apply(new ArrivedApply(message, deadlineMs, call, process), 0);
      return;
    case 'read':
      replica.read(new ArrivedRead(message, deadlineMs, call, process), 0, message.part);
      return;
    case 'prepare':
      replica.prepare(new ArrivedPrepare(message, deadlineMs, call, process), 0);
      return;
    case 'replica-scan':
      void answerScan(replica, message.scan, deadlineMs, call);
      return;
    case 'peer-ping':
      void answerPing(replica, message.request, deadlineMs, call);
      return;
    case 'ask':
      void answerAsk(replica, message.ask, message.request, deadlineMs, call);
  }
}

async function answerScan(
  replica: Peer,
  request: ReplicaScan,
  deadlineMs: number,
  call: IncomingCall,
): Promise<void> {
  const page = await replica.scan(request, deadlineMs);
  call.reply(page.kind === 'page' ? copyOfPage(page) : page, CALL_BYTES);
}

async function answerPing(
  replica: Peer,
  request: PingRequest,
  deadlineMs: number,
  call: IncomingCall,
): Promise<void> {
  call.reply(await replica.ping(request, deadlineMs), CALL_BYTES);
}

async function answerAsk(
  replica: Peer,
  kind: AskKind,
  request: object,
  deadlineMs: number,
  call: IncomingCall,
): Promise<void> {
  const answer = await replica.ask(kind, request as AskRequest<AskKind>, deadlineMs);
  call.reply(structuredClone(answer), CALL_BYTES);
}

class ArrivedApply implements ApplyCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly record: Uint8Array;
  readonly source: ApplySource;
  readonly fence: Uint8Array;
  readonly placementVersion: number;
  readonly traceparent = NO_BYTES;

  constructor(
    message: PeerMessage & { kind: 'apply' },
    readonly deadlineMs: number,
    readonly call: IncomingCall,
    readonly process: SimProcess,
  ) {
    this.key = message.key;
    this.keyHash = hash32(message.key);
    this.record = message.record;
    this.source = message.source;
    this.fence = message.fence;
    this.placementVersion = message.placementVersion;
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    tell(this.process, `${this.source} of`, this.key, this.record, answer);
    const copied: ApplyAnswer =
      answer.kind === 'kept' ? { kind: 'kept', header: Uint8Array.from(answer.header) } : answer;
    this.call.reply(copied, CALL_BYTES);
  }
}

class ArrivedPrepare implements PrepareCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly ballot: Uint8Array;
  readonly above: Uint8Array;
  readonly known: Uint8Array;
  readonly placementVersion: number;
  readonly traceparent = NO_BYTES;

  constructor(
    message: PeerMessage & { kind: 'prepare' },
    readonly deadlineMs: number,
    readonly call: IncomingCall,
    readonly process: SimProcess,
  ) {
    this.key = message.key;
    this.keyHash = hash32(message.key);
    this.ballot = message.ballot;
    this.above = message.above;
    this.known = message.known;
    this.placementVersion = message.placementVersion;
  }

  onPrepared(_slot: number, answer: PrepareAnswer): void {
    tell(this.process, 'prepare of', this.key, undefined, answer);
    const copied = structuredClone(answer);
    this.call.reply(copied, CALL_BYTES);
  }
}

class ArrivedRead implements ReadCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly placementVersion: number;
  readonly traceparent = NO_BYTES;

  constructor(
    message: PeerMessage & { kind: 'read' },
    readonly deadlineMs: number,
    readonly call: IncomingCall,
    readonly process: SimProcess,
  ) {
    this.key = message.key;
    this.keyHash = hash32(message.key);
    this.placementVersion = message.placementVersion;
  }

  onRead(_slot: number, answer: ReadAnswer): void {
    const header = answer.kind === 'found' ? answer.header : undefined;
    tell(this.process, 'read of', this.key, header, answer);
    this.call.reply(copyOfRead(answer), CALL_BYTES);
  }
}

function isOlderLife(lives: Lives, heard: Lives | undefined): boolean {
  return heard !== undefined && Buffer.compare(lives.incarnation, heard.incarnation) < 0;
}

function copyOfRead(answer: ReadAnswer): ReadAnswer {
  if (isReplicaFailure(answer)) return answer;
  const fence = answer.fence === undefined ? {} : { fence: Uint8Array.from(answer.fence) };
  if (answer.kind === 'absent') return { kind: 'absent', ...fence };
  if (answer.record === undefined) {
    return { kind: 'found', header: Uint8Array.from(answer.header), ...fence };
  }
  const record = Uint8Array.from(answer.record);
  return { kind: 'found', header: headerOf(record), record, ...fence };
}

function copyOfPage(page: ReplicaPage): ReplicaPage {
  return {
    kind: 'page',
    entries: page.entries.map(({ key, record }) => ({
      key: Uint8Array.from(key),
      record: Uint8Array.from(record),
    })),
    ...(page.scannedTo === undefined ? {} : { scannedTo: Uint8Array.from(page.scannedTo) }),
    ...(page.digest === undefined ? {} : { digest: Uint8Array.from(page.digest) }),
    corrupt: page.corrupt.map((key) => Uint8Array.from(key)),
  };
}

function failureOf(none: NoAnswer): ReplicaFailure {
  return {
    kind: none.kind === 'not-sent' ? 'unreachable' : 'failed',
    code: none.kind === 'timed-out' ? 'TIMED_OUT' : 'UNAVAILABLE',
    message: none.message,
  };
}

/** A line of the readable trace, where there is one. */
function tell(
  process: SimProcess,
  what: string,
  key: Uint8Array,
  header: Uint8Array | undefined,
  answer: ApplyAnswer | PrepareAnswer | ReadAnswer,
): void {
  if (!process.kernel.trace.textual) return;
  const version = header === undefined ? '' : formatVersion(versionOf(header));
  const why = isReplicaFailure(answer) ? ` ${answer.code}` : '';
  process.say(`${what} ${Buffer.from(key).toString()} ${version}: ${answer.kind}${why}`);
}
