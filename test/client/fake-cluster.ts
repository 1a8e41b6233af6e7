import type { ErrorCode, Outcome } from '../../src/core/errors.js';
import { compareKeys, keyAfter } from '../../src/core/key-range.js';
import { isExpired } from '../../src/core/expiry.js';
import { compareRecords, headerOf, headOf, isTombstone } from '../../src/core/record.js';
import type { Member } from '../../src/core/placement.js';
import type {
  CallKind,
  Link,
  Linker,
  LinkState,
  NodeAnswer,
  NodeCall,
  NodeFailure,
  NodePage,
  NodePong,
  NodeScan,
  Welcome,
} from '../../src/io/link.js';
import { connectThrough } from '../../src/client/connect-through.js';
import type { ConnectOptions, Kv } from '../../src/client/kv.js';
import { seededRandom } from '../seeded-random.js';
import { DONE, FakeRegister, nameOf, readAt, refusal } from './fake-register.js';
import { createVirtualTime, type VirtualClock, type VirtualTime } from '../virtual-time.js';

/** What a fake node does with a call. */
export type Behaviour =
  | { readonly kind: 'serve'; readonly delayMs?: number }
  /** Does not answer; what it was sent is stored all the same where `stores` says so. */
  | { readonly kind: 'hang'; readonly stores: boolean }
  | {
      readonly kind: 'refuse';
      readonly code: ErrorCode;
      readonly outcome: Outcome;
      readonly stores?: boolean;
    }
  /** Answers a get with a record that is not what was written. */
  | { readonly kind: 'corrupt' };

export interface SentCall {
  readonly node: string;
  readonly kind: CallKind;
  readonly key: string;
  readonly record: Uint8Array;
  readonly timeoutMs: number;
  readonly atMs: number;
}

export const SERVE: Behaviour = { kind: 'serve' };
const ROUND_TRIP_MS = 1;

/** A node that can be told what to do. All nodes of a cluster share one map of records: replication is not the point here. */
export class FakeNode {
  behaviour: Behaviour = SERVE;
  /** Taken before `behaviour`, one for each call. */
  script: Behaviour[] = [];
  quarantined = false;
  answersPings = true;
  /** Of pings; links open as fast as ever. */
  roundTripMs = ROUND_TRIP_MS;
  up = true;
  clusterId = 'cluster-1';
  readonly clock: VirtualClock;
  readonly links = new Set<FakeLink>();

  constructor(
    public member: Member,
    readonly cluster: FakeCluster,
  ) {
    this.clock = cluster.time.clockWithSkew(0);
  }

  get welcome(): Welcome {
    return {
      nodeId: this.member.id,
      clusterName: this.clusterId === 'cluster-1' ? 'test' : 'other',
      clusterId: this.clusterId,
      members: this.cluster.members,
      replicationFactor: this.cluster.replicationFactor,
      placementVersion: 1,
      wallMs: this.clock.wallMs(),
      quarantined: this.quarantined,
      maxDriftMs: 500,
      maxKeyBytes: 4_096,
      maxValueBytes: 1_048_576,
    };
  }

  /** Ends every link; `up` again, they come back. */
  setUp(up: boolean): void {
    this.up = up;
    for (const link of this.links) link.refresh();
  }
}

export class FakeCluster implements Linker {
  readonly time: VirtualTime;
  readonly nodes: FakeNode[];
  members: readonly Member[];
  readonly records = new Map<string, Uint8Array>();
  readonly sent: SentCall[] = [];
  readonly cancelled: string[] = [];
  readonly scans: { readonly node: string; readonly request: NodeScan }[] = [];
  readonly opened: string[] = [];
  /** Pages are this long at the most, whatever was asked for. */
  pageLimit = Infinity;
  /** Other names of nodes. */
  readonly aliases = new Map<string, string>();
  /** Taken before the scripts of the nodes, one for each call to any of them. */
  script: Behaviour[] = [];
  /** A cancelled call stays open for an answer that is on its way. */
  answersOvertakeCancels = false;
  /** Calls that have been sent and not answered, and the most there were. */
  underWay = 0;
  mostUnderWay = 0;
  readonly #links: FakeLink[] = [];
  readonly #register: FakeRegister;
  #connections = 0;

  constructor(
    count = 3,
    readonly replicationFactor = 3,
  ) {
    this.time = createVirtualTime();
    this.#register = new FakeRegister(this.records, this.time.clock);
    this.members = Array.from({ length: count }, (_, index) => ({
      id: `n${index + 1}`,
      address: `n${index + 1}:7101`,
      zone: `z${index + 1}`,
    }));
    this.nodes = this.members.map((member) => new FakeNode(member, this));
  }

  /** The node is at another address from now on, and all nodes know. */
  move(id: string, address: string): void {
    const node = this.node(id);
    node.setUp(false);
    node.links.clear();
    node.member = { ...node.member, address };
    this.members = this.nodes.map(({ member }) => member);
    node.up = true;
  }

  node(id: string): FakeNode {
    const node = this.nodes.find(({ member }) => member.id === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  open(endpoint: string, onState: (state: LinkState) => void): Link {
    this.opened.push(endpoint);
    const address = this.aliases.get(endpoint) ?? endpoint;
    const node = this.nodes.find(({ member }) => member.address === address);
    const link = new FakeLink(endpoint, node, this, onState);
    this.#links.push(link);
    return link;
  }

  /** Links that have not been closed, whether their node is there or not. */
  get openLinks(): readonly FakeLink[] {
    return this.#links.filter(({ closed }) => !closed);
  }

  /** Connects and lets every link open. `clock` is that of the SDK. */
  async connect<V = string>(
    options: Partial<ConnectOptions<V>> = {},
    clock = this.time.clock,
  ): Promise<Kv<V>> {
    const random = seededRandom(7 + this.#connections++);
    const ports = { clock, timers: this.time.timers, random, linker: this };
    const connecting = connectThrough<V>({ endpoints: 'n1:7101', ...options }, ports);
    connecting.catch(() => undefined);
    await this.time.advance(20);
    return connecting;
  }

  /** The nodes that calls went to, in order. */
  get route(): string[] {
    return this.sent.map(({ node }) => node);
  }

  /** What a node does with a call that it serves: what is answered, by its clock. */
  carryOut(call: NodeCall, nowMs: number): NodeAnswer {
    if (call.level === 'LINEARIZABLE') return this.#register.carryOut(call, nowMs);
    if (call.kind === 'put') return { ...DONE, shadow: this.store(call.key, call.record) };
    return { ...DONE, record: readAt(this.records, call.key, nowMs) };
  }

  store(key: Uint8Array, record: Uint8Array): Uint8Array | undefined {
    const name = nameOf(key);
    const held = this.records.get(name);
    if (held !== undefined && compareRecords(record, held) <= 0) {
      return compareRecords(record, held) === 0 ? undefined : Uint8Array.from(headerOf(held));
    }
    this.records.set(name, record);
    return undefined;
  }
}

export class FakeLink implements Link {
  #welcome: Welcome | undefined;
  #closed = false;
  readonly #pending = new Set<NodeCall>();

  constructor(
    readonly endpoint: string,
    readonly node: FakeNode | undefined,
    readonly cluster: FakeCluster,
    readonly onState: (state: LinkState) => void,
  ) {
    node?.links.add(this);
    cluster.time.timers.after(ROUND_TRIP_MS, () => this.refresh());
  }

  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  get closed(): boolean {
    return this.#closed;
  }

  refresh(): void {
    if (this.#closed) return;
    if (this.node?.up === true) {
      this.#welcome = this.node.welcome;
      this.onState({ kind: 'open', welcome: this.#welcome, roundTripMs: ROUND_TRIP_MS });
      return;
    }
    this.#welcome = undefined;
    for (const call of this.#pending) {
      this.#answer(call, refusal('UNAVAILABLE', 'unknown', 'the channel broke'));
    }
    this.onState({
      kind: 'closed',
      code: 'UNAVAILABLE',
      message: 'connection refused',
      fatal: false,
    });
  }

  send(call: NodeCall): void {
    const { cluster, node } = this;
    if (node === undefined || this.#welcome === undefined) {
      cluster.time.timers.turn(() => call.onAnswer(refusal('UNAVAILABLE', 'none', 'not open')));
      return;
    }
    cluster.sent.push({
      node: node.member.id,
      kind: call.kind,
      key: Buffer.from(call.key).toString(),
      record: Uint8Array.from(call.record),
      timeoutMs: call.timeoutMs,
      atMs: cluster.time.clock.monotonicMs(),
    });
    this.#pending.add(call);
    cluster.underWay++;
    cluster.mostUnderWay = Math.max(cluster.mostUnderWay, cluster.underWay);
    const behaviour = cluster.script.shift() ?? node.script.shift() ?? node.behaviour;
    if (behaviour.kind === 'hang') {
      if (behaviour.stores && call.kind !== 'get') cluster.carryOut(call, this.#wallMs());
      return;
    }
    const delayMs = (behaviour.kind === 'serve' ? behaviour.delayMs : undefined) ?? ROUND_TRIP_MS;
    cluster.time.timers.after(delayMs, () => this.#answer(call, this.#carryOut(call, behaviour)));
  }

  cancel(call: NodeCall): void {
    if (!this.#pending.has(call)) return;
    this.cluster.cancelled.push(this.node?.member.id ?? '');
    if (this.cluster.answersOvertakeCancels) return;
    this.cluster.time.timers.turn(() =>
      this.#answer(call, refusal('CANCELLED', 'unknown', 'cancelled')),
    );
  }

  /** Answers a call that hangs. */
  answerPending(answer: NodeAnswer): void {
    for (const call of this.#pending) this.#answer(call, answer);
  }

  async scan(request: NodeScan, signal?: AbortSignal): Promise<NodePage | NodeFailure> {
    const { cluster, node } = this;
    if (node === undefined || this.#welcome === undefined) {
      return { kind: 'failure', code: 'UNAVAILABLE', outcome: 'none', message: 'not open' };
    }
    cluster.scans.push({ node: node.member.id, request });
    const behaviour = node.script.shift() ?? node.behaviour;
    const hangs = behaviour.kind === 'hang';
    await new Promise<void>((resolve) => {
      const stop = (): void => {
        signal?.removeEventListener('abort', stop);
        resolve();
      };
      cluster.time.timers.after(hangs ? request.timeoutMs : ROUND_TRIP_MS, stop);
      signal?.addEventListener('abort', stop);
    });
    if (signal?.aborted === true || hangs || behaviour.kind === 'refuse') {
      const code =
        signal?.aborted === true
          ? 'CANCELLED'
          : behaviour.kind === 'refuse'
            ? behaviour.code
            : 'TIMED_OUT';
      return { kind: 'failure', code, outcome: 'none', message: 'as told' };
    }
    return this.#page(request);
  }

  async ping(timeoutMs: number): Promise<NodePong | NodeFailure> {
    const { node, cluster } = this;
    const answers = node?.answersPings === true && this.#welcome !== undefined;
    await new Promise<void>((resolve) => {
      cluster.time.timers.after(answers ? node.roundTripMs / 2 : timeoutMs, resolve);
    });
    if (!answers) {
      return { kind: 'failure', code: 'TIMED_OUT', outcome: 'none', message: 'no pong' };
    }
    const wallMs = node.clock.wallMs();
    await new Promise<void>((resolve) => {
      cluster.time.timers.after(node.roundTripMs / 2, resolve);
    });
    return { kind: 'pong', wallMs, quarantined: node.quarantined, placementVersion: 1 };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#welcome = undefined;
    this.node?.links.delete(this);
    return Promise.resolve();
  }

  #answer(call: NodeCall, answer: NodeAnswer): void {
    if (!this.#pending.delete(call)) return;
    this.cluster.underWay--;
    call.onAnswer(answer);
  }

  #carryOut(call: NodeCall, behaviour: Behaviour): NodeAnswer {
    if (behaviour.kind === 'refuse') {
      if (behaviour.stores === true) this.cluster.carryOut(call, this.#wallMs());
      return refusal(behaviour.code, behaviour.outcome, 'as told');
    }
    const answer = this.cluster.carryOut(call, this.#wallMs());
    if (behaviour.kind !== 'corrupt' || answer.record === undefined) return answer;
    const damaged = Uint8Array.from(answer.record);
    damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1;
    return { ...answer, record: damaged };
  }

  #wallMs(): number {
    return (this.node as FakeNode).clock.wallMs();
  }

  /** The token is the key to go on from. */
  #page(request: NodeScan): NodePage {
    const { gte, lt, reverse, limit, token, keysOnly } = request;
    const inRange = [...this.cluster.records]
      .map(([name, record]) => ({ key: Buffer.from(name, 'hex'), record }))
      .filter(({ key, record }) => {
        if (isTombstone(record) || isExpired(record, this.#wallMs())) return false;
        if (compareKeys(key, gte) < 0) return false;
        if (lt.length > 0 && compareKeys(key, lt) >= 0) return false;
        if (token.length === 0) return true;
        return reverse ? compareKeys(key, token) < 0 : compareKeys(key, token) >= 0;
      })
      .sort((a, b) => compareKeys(a.key, b.key) * (reverse ? -1 : 1));
    const entries = inRange.slice(0, Math.min(limit, this.cluster.pageLimit));
    const last = entries.at(-1);
    const goesOn = last !== undefined && entries.length < inRange.length;
    return {
      kind: 'page',
      entries: entries.map(({ key, record }) => ({
        key,
        record: keysOnly ? headOf(record) : record,
      })),
      token: goesOn ? (reverse ? last.key : keyAfter(last.key)) : new Uint8Array(0),
    };
  }
}
