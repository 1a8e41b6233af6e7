import { silentLog } from '../../src/io/log.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type {
  Lives,
  Peer,
  PeerEvents,
  ReplicaFailure,
  ReadAnswer,
  ReadCall,
  ApplyAnswer,
  ApplyCall,
} from '../../src/io/peer.js';
import type { StoreOpener } from '../../src/io/store.js';
import { createNode, type Node } from '../../src/node.js';
import { WHOLE_STORE } from '../../src/replica/layout.js';
import { hash32 } from '../../src/core/hash.js';
import { DEFAULT_TEMPO } from '../../src/core/tempo.js';
import { getOf, putOf, recordAt, START_MS } from '../coordinator/fixture.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';

const DELAY_MS = 1;
const CUT_OFF: ReplicaFailure = { kind: 'failed', code: 'UNAVAILABLE', message: 'channel broken' };
const NOT_SENT: ReplicaFailure = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'channel not open',
};

/** A disk that a test can look at, copy and declare damaged. */
export interface TestDisk extends StoreOpener {
  damaged: boolean;
}

export function createDisk(): TestDisk {
  const opener = memoryStoreOpener();
  const disk: TestDisk = {
    damaged: false,
    open: () => opener.open(),
    hasRoom: () => opener.hasRoom(),
    verify: async () => (disk.damaged ? 'damaged' : 'intact'),
    async acceptDamage() {
      disk.damaged = false;
    },
  };
  return disk;
}

/** What a person keeps who copies the folder of a node that is stopped. */
export async function copyOf(disk: TestDisk): Promise<TestDisk> {
  const copy = createDisk();
  const [from, to] = [await disk.open(), await copy.open()];
  const cursor = from.cursor(WHOLE_STORE);
  const batch = to.batch();
  for (let page = await cursor.next(1_000); page.length > 0; page = await cursor.next(1_000)) {
    for (const [key, value] of page) batch.put(key, value);
  }
  await cursor.close();
  await batch.commit({ sync: true });
  await from.close();
  await to.close();
  return copy;
}

interface Place {
  readonly id: string;
  disk: TestDisk;
  node: Node | undefined;
  links: Link[];
}

/** Real nodes in one process under virtual time, on a network that only delays, and on disks in memory. */
export class NodeCluster {
  readonly time: VirtualTime = createVirtualTime(START_MS);
  readonly #places: Place[];
  readonly #replication: number;
  readonly #random = seededRandom(11);

  constructor(size: number, replication = 3) {
    this.#replication = replication;
    this.#places = Array.from({ length: size }, (_, i) => ({
      id: `n${i + 1}`,
      disk: createDisk(),
      node: undefined,
      links: [],
    }));
  }

  get ids(): readonly string[] {
    return this.#places.map(({ id }) => id);
  }

  diskOf(id: string): TestDisk {
    return this.#place(id).disk;
  }

  setDisk(id: string, disk: TestDisk): void {
    this.#place(id).disk = disk;
  }

  node(id: string): Node {
    const { node } = this.#place(id);
    if (node === undefined) throw new Error(`${id} does not run`);
    return node;
  }

  /** `n1 serving`, or the state and why. */
  standing(id: string): string {
    const { state, reason } = this.node(id).replica.standing;
    return state === 'serving' ? state : `${state}: ${reason}`;
  }

  serves(...ids: readonly string[]): boolean {
    return ids.every((id) => this.#place(id).node?.replica.standing.state === 'serving');
  }

  /** Advances until these nodes serve, and a little, so that they have told each other. */
  async untilServing(ids: readonly string[], limitMs: number): Promise<void> {
    await this.time.until(() => this.serves(...ids), limitMs);
    await this.time.advance(20);
  }

  async start(id: string, trustFolder = false): Promise<void> {
    const place = this.#place(id);
    const started = createNode(
      {
        cluster: 'test',
        node: id,
        members: this.ids.map((member) => ({ id: member, address: `${member}:1`, zone: member })),
        replication: this.#replication,
        maxDriftMs: 500,
        maxValueBytes: 1_000_000,
        tempo: DEFAULT_TEMPO,
        trustFolder,
      },
      {
        clock: this.time.clock,
        timers: this.time.timers,
        random: this.#random,
        log: silentLog,
        opener: place.disk,
        peerTo: (member, events) => {
          const link = new Link(this, id, member.id, events);
          place.links.push(link);
          return link;
        },
      },
    );
    place.node = await started;
    for (const other of this.#places) {
      for (const link of other.links) {
        if (link.from === id || link.nodeId === id) link.connect();
      }
    }
  }

  async stop(id: string): Promise<void> {
    const place = this.#place(id);
    const { node } = place;
    place.node = undefined;
    place.links = [];
    const stopped = node?.stop(0);
    await this.time.advance(10);
    await stopped;
  }

  async put(via: string, key: string, value: string, atMs: number): Promise<string> {
    const operation = putOf(key, recordAt(key, value, atMs), { deadlineMs: Infinity });
    this.node(via).coordinator.execute(operation);
    await this.time.until(() => operation.answers.length > 0, 5_000);
    return operation.answers[0]?.code ?? 'stored';
  }

  /** The value at QUORUM; undefined: nothing. A code where it failed. */
  async get(via: string, key: string): Promise<string | undefined> {
    const operation = getOf(key, { deadlineMs: Infinity });
    this.node(via).coordinator.execute(operation);
    await this.time.until(() => operation.answers.length > 0, 5_000);
    const answer = operation.answers[0];
    if (answer?.code !== undefined) return answer.code;
    return answer?.record && Buffer.from(answer.record).subarray(25).toString();
  }

  /** What the node alone holds of the key, whatever its standing. */
  async held(id: string, key: string): Promise<string> {
    const answers: ReadAnswer[] = [];
    const bytes = Buffer.from(key);
    const call: ReadCall = {
      key: bytes,
      keyHash: hash32(bytes),
      deadlineMs: Infinity,
      placementVersion: 1,
      traceparent: new Uint8Array(0),
      onRead: (_, answer) => answers.push(answer),
    };
    this.node(id).replica.whileRefilling.read(call, 0, 'record');
    await this.time.until(() => answers.length > 0, 1_000);
    const answer = answers[0];
    return answer?.kind === 'found' && answer.record !== undefined
      ? Buffer.from(answer.record).subarray(25).toString()
      : (answer?.kind ?? 'none');
  }

  /** Of {@link Link} only. */
  running(id: string): Node | undefined {
    return this.#place(id).node;
  }

  #place(id: string): Place {
    const place = this.#places.find((one) => one.id === id);
    if (place === undefined) throw new Error(`no node ${id}`);
    return place;
  }
}

/** The way from one node to another: connected while both run. Answers bring the lives that their sender knew of. */
class Link implements Peer {
  #told: Lives | undefined;
  #connectedTo: Node | undefined;

  constructor(
    private readonly cluster: NodeCluster,
    readonly from: string,
    readonly nodeId: string,
    private readonly events: PeerEvents,
  ) {}

  get connected(): boolean {
    return this.#target !== undefined;
  }

  get #target(): Node | undefined {
    const target = this.cluster.running(this.nodeId);
    return target === this.#connectedTo ? target : undefined;
  }

  connect(): void {
    this.cluster.time.timers.after(DELAY_MS, () => {
      const target = this.cluster.running(this.nodeId);
      if (target === undefined || target === this.#connectedTo) return;
      if (this.cluster.running(this.from) === undefined) return;
      this.#connectedTo = target;
      this.#told = undefined;
      this.#hear(target);
      this.events.onConnected();
    });
  }

  apply(call: ApplyCall, slot: number): void {
    this.#carry<ApplyAnswer>(
      (target, answer) =>
        target.replica.apply({ ...plainApply(call), onApplied: (_, given) => answer(given) }, 0),
      (answer) => call.onApplied(slot, answer),
    );
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    const { key, keyHash, deadlineMs, placementVersion, traceparent } = call;
    const plain = { key, keyHash, deadlineMs, placementVersion, traceparent };
    this.#carry<ReadAnswer>(
      (target, answer) =>
        target.replica.read({ ...plain, onRead: (_, given) => answer(given) }, 0, part),
      (answer) => call.onRead(slot, answer),
    );
  }

  prepare(): void {
    throw new Error('nothing is prepared here');
  }

  scan: Peer['scan'] = (request, deadlineMs) =>
    this.#ask((target) => target.replica.scan(request, deadlineMs));

  ping: Peer['ping'] = (request) => this.#ask((target) => target.replica.ping(request));

  ask: Peer['ask'] = (kind, request, deadlineMs) =>
    this.#ask((target) => target.replica.ask(kind, request, deadlineMs));

  #ask<T>(run: (target: Node) => Promise<T>): Promise<T | ReplicaFailure> {
    return new Promise((resolve) => {
      this.#carry<T>((target, answer) => void run(target).then(answer), resolve);
    });
  }

  #carry<T>(
    send: (target: Node, answer: (given: T) => void) => void,
    receive: (answer: T | ReplicaFailure) => void,
  ): void {
    const { timers } = this.cluster.time;
    const target = this.#target;
    if (target === undefined) {
      timers.turn(() => receive(NOT_SENT));
      return;
    }
    timers.after(DELAY_MS, () => {
      if (this.#target !== target) {
        receive(CUT_OFF);
        return;
      }
      send(target, (given) => {
        const { lives } = target.replica;
        timers.after(DELAY_MS, () => {
          if (this.#target !== target) {
            receive(CUT_OFF);
            return;
          }
          this.#hear(target, lives);
          receive(given);
        });
      });
    });
  }

  #hear(target: Node, lives = target.replica.lives): void {
    if (lives !== this.#told) {
      this.#told = lives;
      this.events.onLives(lives);
    }
    this.events.onCommitCounter(target.replica.commitCounter);
  }
}

function plainApply(call: ApplyCall): Omit<ApplyCall, 'onApplied'> {
  const { key, keyHash, record, source, fence, deadlineMs, placementVersion, traceparent } = call;
  return { key, keyHash, record, source, fence, deadlineMs, placementVersion, traceparent };
}
