import type { Consistency } from '../../src/core/consistency.js';
import { KvError, type ErrorCode, type Outcome } from '../../src/core/errors.js';
import { encodeRecord, versionOf } from '../../src/core/record.js';
import { formatVersion, type Version } from '../../src/core/version.js';
import type { Coordinator, Operation } from '../../src/coordinator/operation.js';
import type {
  CallKind,
  Link,
  Linker,
  NodeAnswer,
  NodeCall,
  NodeFailure,
  NodePage,
  NodePong,
  NodeScan,
  Welcome,
} from '../../src/io/link.js';
import type { Channel, IncomingCall, NoAnswer } from './channel.js';
import type { Network } from './network.js';
import type { SimProcess } from './process.js';

/** What an SDK says to a node: the calls of the link port, with bytes of their own. */
export type NodeMessage =
  | {
      readonly kind: CallKind;
      readonly key: Uint8Array;
      readonly record: Uint8Array;
      readonly minVersion: Uint8Array;
      readonly expect: Uint8Array;
      readonly level: Consistency;
      readonly zone: string;
      readonly receipt: boolean;
    }
  | { readonly kind: 'scan'; readonly scan: NodeScan }
  | UnstampedPut
  | { readonly kind: 'ping' };

/** A write as a client without a clock sends it, through the unary service: the node stamps it. */
export interface UnstampedPut {
  readonly kind: 'unstamped-put';
  readonly key: Uint8Array;
  /** Undefined: a delete. */
  readonly value: Uint8Array | undefined;
  readonly level: Consistency;
  readonly zone: string;
  /** For the history: told of the stamp when it is taken. */
  readonly onStamp: (version: string) => void;
}

export interface UnstampedAnswer {
  readonly code: ErrorCode | undefined;
  readonly outcome: Outcome;
}

/** Sees every call of one client to a node, and every answer, as they pass. */
export interface LinkWitness {
  sent(call: NodeCall, nodeHost: number): void;
  answered(call: NodeCall, answer: NodeAnswer): void;
}

/** What a node gives to SDKs. */
export interface NodeDoor {
  readonly coordinator: Coordinator;
  welcome(): Welcome;
  /** Sees every stamp that the node takes from its clock. */
  onStamp(version: string): void;
}

const NO_BYTES = new Uint8Array(0);
const CALL_BYTES = 60;

/** The simulated network of an SDK: the twin of `wire/node-link.ts`, with the same failures. `hostOf` resolves endpoints. */
export function createSimLinker(
  network: Network,
  process: SimProcess,
  hostOf: (endpoint: string) => number | undefined,
  witness: LinkWitness,
): Linker {
  return {
    open(endpoint, onState) {
      const host = hostOf(endpoint);
      if (host === undefined) throw new Error(`no machine has the endpoint ${endpoint}`);
      const channel = network.open(process, host, 'link');
      const link = new SimLink(endpoint, host, channel, witness);
      channel.onState = (state) => {
        if (state.kind === 'open') {
          link.welcome = state.greeting as Welcome;
          const { roundTripMs } = state;
          onState({ kind: 'open', welcome: link.welcome, roundTripMs });
        } else {
          link.welcome = undefined;
          onState({ kind: 'closed', code: 'UNAVAILABLE', message: state.message, fatal: false });
        }
      };
      return link;
    },
  };
}

class SimLink implements Link {
  welcome: Welcome | undefined;
  readonly #ids = new Map<NodeCall, number>();

  constructor(
    readonly endpoint: string,
    readonly host: number,
    readonly channel: Channel,
    readonly witness: LinkWitness,
  ) {}

  send(call: NodeCall): void {
    const message: NodeMessage = {
      kind: call.kind,
      key: Uint8Array.from(call.key),
      record: Uint8Array.from(call.record),
      minVersion: Uint8Array.from(call.minVersion),
      expect: Uint8Array.from(call.expect),
      level: call.level,
      zone: call.zone,
      receipt: call.receipt,
    };
    this.witness.sent(call, this.host);
    const bytes = CALL_BYTES + message.key.length + message.record.length + message.expect.length;
    const id = this.channel.call(message, bytes, call.timeoutMs, (reply, none) => {
      if (this.#ids.get(call) === id) this.#ids.delete(call);
      const answer = none === undefined ? (reply as NodeAnswer) : noAnswer(none, call.kind);
      this.witness.answered(call, answer);
      call.onAnswer(answer);
    });
    this.#ids.set(call, id);
  }

  cancel(call: NodeCall): void {
    const id = this.#ids.get(call);
    if (id !== undefined) this.channel.cancel(id);
  }

  scan(request: NodeScan, signal?: AbortSignal): Promise<NodePage | NodeFailure> {
    return new Promise((resolve) => {
      const scan: NodeScan = {
        ...request,
        gte: Uint8Array.from(request.gte),
        lt: Uint8Array.from(request.lt),
        token: Uint8Array.from(request.token),
      };
      const onAbort = () => this.channel.cancel(id);
      const message: NodeMessage = { kind: 'scan', scan };
      const id = this.channel.call(message, CALL_BYTES, request.timeoutMs, (reply, none) => {
        signal?.removeEventListener('abort', onAbort);
        resolve(none === undefined ? (reply as NodePage | NodeFailure) : noPage(none));
      });
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted === true) onAbort();
    });
  }

  ping(timeoutMs: number): Promise<NodePong | NodeFailure> {
    return new Promise((resolve) => {
      this.channel.call({ kind: 'ping' }, CALL_BYTES, timeoutMs, (reply, none) => {
        resolve(none === undefined ? (reply as NodePong) : noPage(none));
      });
    });
  }

  async close(): Promise<void> {
    this.channel.close();
  }
}

/** The serving side: hands a call that arrived to the coordinator, and sends its answer back. */
export function serveNodeCall(door: NodeDoor, process: SimProcess, call: IncomingCall): void {
  const message = call.body as NodeMessage;
  const deadlineMs = process.clock.monotonicMs() + call.timeoutMs;
  switch (message.kind) {
    case 'get':
    case 'put':
    case 'outcome': {
      const operation = new ArrivedOperation(message, deadlineMs, call, process);
      call.onCancel = () => door.coordinator.cancel(operation);
      door.coordinator.execute(operation);
      return;
    }
    case 'scan': {
      const abort = new AbortController();
      call.onCancel = () => abort.abort();
      void answerScan(door, message.scan, deadlineMs, abort.signal, call);
      return;
    }
    case 'unstamped-put':
      void answerUnstamped(door, message, deadlineMs, call);
      return;
    case 'ping': {
      const { wallMs, quarantined, placementVersion } = door.welcome();
      call.reply({ kind: 'pong', wallMs, quarantined, placementVersion }, CALL_BYTES);
    }
  }
}

async function answerScan(
  door: NodeDoor,
  request: NodeScan,
  deadlineMs: number,
  signal: AbortSignal,
  call: IncomingCall,
): Promise<void> {
  const page = await door.coordinator.scan(request, deadlineMs, signal);
  call.reply(page.kind === 'page' ? copyOfPage(page) : page, CALL_BYTES);
}

async function answerUnstamped(
  door: NodeDoor,
  put: UnstampedPut,
  deadlineMs: number,
  call: IncomingCall,
): Promise<void> {
  call.reply(await stampAndPut(door, put, deadlineMs), CALL_BYTES);
}

/** The twin of what the unary service does with a write (`wire/kv-service.ts`). */
async function stampAndPut(
  door: NodeDoor,
  put: UnstampedPut,
  deadlineMs: number,
): Promise<UnstampedAnswer> {
  const { key, value, level, zone } = put;
  let version: Version;
  try {
    version = await door.coordinator.stamp();
  } catch (error) {
    if (error instanceof KvError) return { code: error.code, outcome: error.outcome };
    throw error;
  }
  const stamp = formatVersion(version);
  door.onStamp(stamp);
  put.onStamp(stamp);
  const tombstone = value === undefined;
  const record = encodeRecord(key, { version, tombstone, value: value ?? NO_BYTES });
  return new Promise((resolve) => {
    door.coordinator.execute({
      kind: 'put',
      key,
      record,
      minVersion: NO_BYTES,
      expect: NO_BYTES,
      level,
      zone,
      deadlineMs,
      receipt: false,
      traceparent: NO_BYTES,
      onAnswer: ({ code, outcome }) => resolve({ code, outcome }),
    });
  });
}

class ArrivedOperation implements Operation {
  readonly kind: CallKind;
  readonly key: Uint8Array;
  readonly record: Uint8Array;
  readonly minVersion: Uint8Array;
  readonly expect: Uint8Array;
  readonly level: Consistency;
  readonly zone: string;
  readonly receipt: boolean;
  readonly traceparent = NO_BYTES;

  constructor(
    message: NodeMessage & { kind: CallKind },
    readonly deadlineMs: number,
    readonly call: IncomingCall,
    readonly process: SimProcess,
  ) {
    this.kind = message.kind;
    this.key = message.key;
    this.record = message.record;
    this.minVersion = message.minVersion;
    this.expect = message.expect;
    this.level = message.level;
    this.zone = message.zone;
    this.receipt = message.receipt;
  }

  onAnswer(answer: NodeAnswer): void {
    this.call.onCancel = undefined;
    if (this.process.kernel.trace.textual) {
      const key = Buffer.from(this.key).toString();
      const outcome = answer.code === undefined ? 'ok' : `${answer.code} ${answer.outcome}`;
      const held = this.kind === 'put' ? this.record : answer.record;
      const version = held === undefined ? '' : formatVersion(versionOf(held));
      this.process.say(`coordinated ${this.kind} ${key} ${this.level} ${version}: ${outcome}`);
    }
    const copied: NodeAnswer = {
      ...answer,
      record: answer.record === undefined ? undefined : Uint8Array.from(answer.record),
      shadow: answer.shadow === undefined ? undefined : Uint8Array.from(answer.shadow),
      ...(answer.version === undefined ? {} : { version: Uint8Array.from(answer.version) }),
    };
    this.call.reply(copied, CALL_BYTES + (copied.record?.length ?? 0));
  }
}

function copyOfPage(page: NodePage): NodePage {
  return {
    kind: 'page',
    entries: page.entries.map(({ key, record }) => ({
      key: Uint8Array.from(key),
      record: Uint8Array.from(record),
    })),
    token: Uint8Array.from(page.token),
  };
}

function noAnswer(none: NoAnswer, kind: CallKind): NodeAnswer {
  return {
    code: codeOf(none),
    // A get changes nothing, sent or not.
    outcome: none.kind === 'not-sent' || kind === 'get' ? 'none' : 'unknown',
    message: none.message,
    record: undefined,
    shadow: undefined,
    receipt: undefined,
  };
}

function noPage(none: NoAnswer): NodeFailure {
  return { kind: 'failure', code: codeOf(none), outcome: 'none', message: none.message };
}

function codeOf(none: NoAnswer): ErrorCode {
  if (none.kind === 'timed-out') return 'TIMED_OUT';
  return none.kind === 'cancelled' ? 'CANCELLED' : 'UNAVAILABLE';
}
