import {
  compareVersions,
  formatVersion,
  parseVersion,
  type Version,
} from '../../src/core/version.js';
import { decodeRecord, formatDigest, versionOf } from '../../src/core/record.js';
import { hash32 } from '../../src/core/hash.js';
import { createPlacement, partitionOf, type Placement } from '../../src/core/placement.js';
import { DEFAULT_LIMITS, DEFAULT_MAX_DRIFT_MS } from '../../src/core/limits.js';
import { PARTITION_SET_BYTES } from '../../src/core/partition-set.js';
import { Trees } from '../../src/replica/trees.js';
import type { Progress } from '../../src/io/peer-asks.js';
import { COMMIT_COUNTER_KEY, INCARNATION_KEY, PEERS_KEY, unseal } from '../../src/replica/meta.js';
import { isAhead, PeerMemory } from '../../src/replica/peer-memory.js';
import { ALL_HINTS, ALL_RECORDS, recordKey, userKeyOf } from '../../src/replica/layout.js';
import { checkEqual } from './check/equal.js';
import {
  laterOf,
  type Evidence,
  type NodeStamp,
  type ReplicaPlace,
  type StoredRecord,
} from './check/evidence.js';
import { SimClient } from './client.js';
import type { Defect } from './defect.js';
import { SimDisk } from './disk.js';
import { Kernel } from './kernel.js';
import { Network } from './network.js';
import { FenceWatch } from './fence-watch.js';
import { SimNode } from './node.js';
import { MachineClock, START_WALL_MS } from './process.js';
import { tokenOf } from './recorded-client.js';
import { Recorder } from './recorder.js';
import { createStream, type Stream } from './seed.js';
import type { Shape } from './shape.js';
import { textOf, type SortedEntries } from './sorted-entries.js';
import type { Trace } from './trace.js';
import { WORKLOADS, type WorkloadName } from './workload.js';

/** How often a backup of every disk is made, for the fault that puts an old one back. */
const BACKUP_MS = 5_000;

interface Forgetting {
  readonly node: SimNode;
  /** Of the disk that it comes back with. */
  readonly life: Uint8Array | undefined;
  hasLost: boolean;
}

/** A whole cluster with its clients, from one seed: every machine, what runs there, and what is known of it all. */
export class World {
  readonly shape: Shape;
  readonly kernel: Kernel;
  readonly network: Network;
  readonly recorder: Recorder;
  readonly nodes: SimNode[];
  readonly defect: Defect | undefined;
  /** Those that run now. */
  readonly clients: SimClient[] = [];
  /** Whatever went wrong that no law speaks of. */
  readonly problems: string[] = [];
  /** False: a clock was further off than is allowed. */
  clocksSane = true;
  /** True: a disk was emptied or put back. */
  forgot = false;
  #forgetting: Forgetting | undefined;
  /** When the faults ended; what clients do after that proves little. */
  healedMs = Number.POSITIVE_INFINITY;
  #going = true;
  #tokens = 0;
  #clientsMade = 0;
  readonly #placement: Placement;
  readonly #clocks: MachineClock[];
  readonly #hosts: ReadonlyMap<string, number>;
  readonly #places = new Map<string, readonly ReplicaPlace[]>();
  readonly #stored = new Map<string, StoredRecord>();
  /** The highest version that each node has removed from its disk, by node and key. */
  readonly #dropped = new Map<string, string>();
  readonly #nodeStamps: NodeStamp[] = [];
  /** How many disks each node has lost. */
  readonly #disksLost = new Map<string, number>();
  readonly #fences: FenceWatch;
  /** What scrubs found on disks that nobody damaged. */
  readonly #scrubbed: string[] = [];
  readonly #backups = new Map<SimNode, SortedEntries[]>();
  readonly #workloads: readonly WorkloadName[];
  /** The version of each record that a flipped bit has hit, on one node at most, by its store key. */
  readonly #damage = new Map<string, Version>();

  constructor(
    shape: Shape,
    trace: Trace,
    workloads: readonly WorkloadName[],
    defect: Defect | undefined,
  ) {
    const { seed, members, replication, tempo } = shape;
    this.shape = shape;
    this.defect = defect;
    this.#workloads = workloads;
    this.kernel = new Kernel(trace);
    this.recorder = new Recorder(this.kernel, trace);
    const machines = members.length + shape.clients;
    this.network = new Network(this.kernel, createStream(seed, 'network'), machines, tempo);
    this.#placement = createPlacement(members, replication);
    this.#fences = new FenceWatch({
      keys: shape.keys,
      replicasOf: (key) => this.replicasOf(key),
      diskOf: (id) => this.nodes.find((node) => node.id === id)?.disk,
    });
    this.#clocks = this.#makeClocks(machines, createStream(seed, 'clocks'));
    this.#hosts = new Map(members.map(({ address }, host) => [address, host]));
    this.nodes = members.map((member, host) => this.#makeNode(member.id, host));
  }

  /** Every machine's place in the network: nodes first, then clients. */
  hosts(): number[] {
    return this.#clocks.map((_, host) => host);
  }

  clockOf(host: number): MachineClock {
    return this.#clocks[host] as MachineClock;
  }

  hostOf(address: string): number | undefined {
    return this.#hosts.get(address);
  }

  /** A value that nobody has written before. */
  nextToken(): string {
    return `v${this.#tokens++}`;
  }

  problem(text: string): void {
    this.problems.push(`at ${this.kernel.nowMs.toFixed(3)} ms: ${text}`);
  }

  /** A client on the machine `host`; it is connected when this resolves. */
  async addClient(host: number): Promise<SimClient> {
    const name = `c${++this.#clientsMade}`;
    const client = new SimClient(this, name, host, createStream(this.shape.seed, name));
    this.clients.push(client);
    await client.connect();
    return client;
  }

  /** Gives the client its work. */
  employ(client: SimClient): void {
    const name = client.stream.pick(this.#workloads);
    client.process.say(`works on ${name}`);
    client.done = WORKLOADS[name](client, this.shape, () => this.#going);
  }

  /** Another process on the machine of one that died. It works as soon as it is connected. */
  replaceClient(dead: SimClient): void {
    const at = this.clients.indexOf(dead);
    if (at >= 0) this.clients.splice(at, 1);
    void this.#newClient(dead.process.host);
  }

  async #newClient(host: number): Promise<void> {
    const client = await this.addClient(host);
    if (this.#going) this.employ(client);
  }

  /** No client begins anything more, and what was begun ends within `limitMs`: every request has a deadline. */
  async stopClients(limitMs: number): Promise<void> {
    this.#going = false;
    const busy = new Set(this.clients);
    const ended = this.clients.map(async (client) => {
      await client.done;
      busy.delete(client);
    });
    await Promise.race([Promise.all(ended), this.kernel.sleep(limitMs)]);
    for (const { name } of busy) {
      this.problem(`${name} still waits for an answer ${limitMs} ms after it was to stop`);
    }
  }

  /** Ends every fault: all ways open, all disks sound, all clocks right, every process there and running. */
  heal(stream: Stream): void {
    this.healedMs = this.kernel.nowMs;
    this.network.heal();
    for (const clock of this.#clocks) {
      clock.setSkew(stream.between(-this.shape.skewMs, this.shape.skewMs));
      clock.setRate(1);
    }
    for (const { process } of this.clients) {
      process.afterEvents(0, () => {});
      process.resume();
    }
    const dead = this.clients.filter(({ process }) => !process.alive);
    for (const client of dead) this.replaceClient(client);
    for (const node of this.nodes) {
      node.disk.slowness = 1;
      node.disk.full = false;
      node.disk.failureChance = 0;
      node.process?.afterEvents(0, () => {});
      node.resume();
      node.start();
    }
  }

  /** Whose disk is about to be emptied or put back, or has been: until it serves in another life than that disk is of. */
  get forgetting(): SimNode | undefined {
    const replica = this.#forgetting?.node.node?.replica;
    // Until then another fault may have started it again with the disk that it is to lose.
    if (this.#forgetting?.hasLost === true && replica?.standing.state === 'serving') {
      const life = Buffer.from(replica.incarnation);
      if (!life.equals(this.#forgetting.life ?? Buffer.alloc(0))) this.#forgetting = undefined;
    }
    return this.#forgetting?.node;
  }

  /** The node is to lose its disk, and to come back with this one. */
  forgets(node: SimNode, disk: SortedEntries): void {
    this.forgot = true;
    this.#forgetting = { node, life: progressOn(disk)?.incarnation, hasLost: false };
  }

  /** It has lost it by now. */
  hasLost(node: SimNode): void {
    this.#disksLost.set(node.id, (this.#disksLost.get(node.id) ?? 0) + 1);
    if (this.#forgetting?.node === node) this.#forgetting.hasLost = true;
  }

  /** Keeps making backups of the disks for as long as the run lasts. */
  backUp(): void {
    for (const node of this.nodes) {
      const backups = this.#backups.get(node) ?? [];
      backups.push(node.disk.backup());
      this.#backups.set(node, backups);
    }
    this.kernel.schedule(BACKUP_MS, undefined, () => {
      if (this.#going) this.backUp();
    });
  }

  /** A backup of the node's disk that {@link isKnownOlder}. Undefined: there is none. */
  olderBackupOf(node: SimNode, stream: Stream): SortedEntries | undefined {
    const backups = this.#backups.get(node) ?? [];
    const older = backups.filter((backup) => this.isKnownOlder(node, backup));
    return older.length === 0 ? undefined : stream.pick(older);
  }

  /**
   * Whether every other node knows that this was the disk of the node at an earlier time, as it does once it has heard of the
   * node for two rounds of gossip since. If only some did, it would count what the node says until it meets one of those.
   */
  isKnownOlder(node: SimNode, disk: SortedEntries): boolean {
    const made = progressOn(disk);
    if (made === undefined) return false;
    return this.nodes.every((other) => {
      if (other === node) return true;
      const memory = new PeerMemory(other.id, metaOn(other.disk.backup(), PEERS_KEY));
      const remembered = memory.of(node.id);
      return remembered !== undefined && isAhead(remembered, made);
    });
  }

  /** On how many replicas of the key, of those of `zone` where given, the version or a newer one is on disk now. */
  holders(key: string, version: string, zone?: string): number {
    const storeKey = recordKey(Buffer.from(key));
    const least = parseVersion(version) as Version;
    const damage = this.#damage.get(nameOf(storeKey));
    let count = 0;
    for (const place of this.replicasOf(key)) {
      if (zone !== undefined && place.zone !== zone) continue;
      const node = this.nodes.find(({ id }) => id === place.node) as SimNode;
      const record = node.disk.holds(storeKey);
      // A damaged copy counts as what it was: it was sound when its write was acknowledged.
      const flipped = node.disk.isFlipped(storeKey) ? damage : undefined;
      const held = flipped ?? (record === undefined ? undefined : versionOf(record));
      // It had it when the write was acknowledged, or the write would not have been; that disk is gone.
      if (node === this.forgetting) {
        count++;
        continue;
      }
      const dropped = this.#dropped.get(`${place.node}/${key}`) ?? '';
      if (held === undefined ? dropped >= version : compareVersions(held, least) >= 0) count++;
    }
    return count;
  }

  isDamaged(storeKey: Uint8Array): boolean {
    return this.#damage.has(nameOf(storeKey));
  }

  /** A bit of the record was flipped. */
  onDamage(storeKey: Uint8Array, record: Uint8Array): void {
    this.#damage.set(nameOf(storeKey), versionOf(record));
  }

  replicasOf(key: string): readonly ReplicaPlace[] {
    let places = this.#places.get(key);
    if (places === undefined) {
      const partition = partitionOf(hash32(Buffer.from(key)));
      const { members, preference } = this.#placement;
      places = (preference[partition] ?? []).map((index) => {
        const { id, zone } = members[index] as (typeof members)[number];
        return { node: id, zone };
      });
      this.#places.set(key, places);
    }
    return places;
  }

  /** Keys that some replica holds in a form it cannot read. */
  damagedKeys(): Set<string> {
    return new Set(
      this.nodes.flatMap(({ disk }) =>
        disk.flippedKeys().map((storeKey) => Buffer.from(userKeyOf(storeKey)).toString()),
      ),
    );
  }

  /** Whether some replica says nothing of a key: it cannot read it, or could not and has not been mended since. */
  isAbstaining(): boolean {
    const abstaining = this.nodes.flatMap(({ node }) => node?.replica.corruptKeys ?? []);
    return this.damagedKeys().size + abstaining.length > 0;
  }

  /** In what the disks do not agree yet, in words; empty: all replicas are equal, and nobody is owed anything. */
  disagreement(): string {
    // A record of which there is no other copy stays as it is.
    const damaged = [...this.damagedKeys()].filter((key) => this.replicasOf(key).length > 1);
    if (damaged.length > 0) return `damaged: ${damaged.join(' ')}`;
    const [unequal] = checkEqual(this.evidence());
    if (unequal !== undefined) return `${unequal.key}: ${unequal.problem}`;
    for (const { id, disk } of this.nodes) {
      const [hint] = disk.entries(ALL_HINTS);
      if (hint !== undefined) return `${id} keeps a hint: ${nameOf(hint[0])}`;
    }
    return this.#wrongTrees()[0] ?? '';
  }

  /** Asks every node whether its scrub found trees that were wrong. */
  async askScrubs(): Promise<void> {
    if (this.#damage.size > 0) return;
    for (const { id, node } of this.nodes) {
      const differed = (await node?.replica.status())?.treesDiffered ?? 0;
      if (differed > 0) this.#scrubbed.push(`${id}: the scrub had to mend ${differed} segments`);
    }
  }

  #wrongTrees(): string[] {
    const all = new Uint8Array(PARTITION_SET_BYTES).fill(0xff);
    return this.nodes.flatMap(({ id, node, disk }) => {
      const trees = node?.replica.trees;
      if (trees?.ready !== true || disk.flippedKeys().length > 0) return [];
      const told = new Trees();
      for (const [storeKey, record] of disk.entries(ALL_RECORDS)) {
        told.replace(hash32(userKeyOf(storeKey)), undefined, record);
      }
      const same = Buffer.compare(told.digests(all), trees.digests(all)) === 0;
      return same ? [] : [`${id}: its trees are not those of its disk`];
    });
  }

  evidence(): Evidence {
    return {
      keys: this.shape.keys,
      roundKeys: this.shape.roundKeys,
      replicasOf: (key) => this.replicasOf(key),
      stored: [...this.#stored.values()],
      copies: new Map(this.nodes.map((node) => [node.id, copiesOn(node)])),
      dropped: this.#droppedByKey(),
      everDamaged: new Set([...this.#damage.keys()].map(userKeyNamed)),
      damaged: this.damagedKeys(),
      behindFences: this.#fences.behind,
      wrongTrees: [...this.#wrongTrees(), ...this.#scrubbed],
      nodeStamps: this.#nodeStamps,
      clocksSane: this.clocksSane,
      startWallMs: START_WALL_MS,
      clockErrorMs: Math.max(...this.nodes.map((_, host) => this.clockOf(host).worstErrorMs)),
      forgot: this.forgot,
    };
  }

  #makeClocks(count: number, stream: Stream): MachineClock[] {
    const { skewMs, driftRate } = this.shape;
    return Array.from(
      { length: count },
      () =>
        new MachineClock(
          this.kernel,
          stream.between(0, 1_000_000),
          stream.between(-skewMs, skewMs),
          1 + stream.between(-driftRate, driftRate),
        ),
    );
  }

  #makeNode(id: string, host: number): SimNode {
    const { seed, members, replication } = this.shape;
    const disk = new SimDisk(createStream(seed, `disk ${id}`), this.shape.disk);
    disk.witness = (key, value) => this.#onStored(id, key, value);
    return new SimNode({
      kernel: this.kernel,
      network: this.network,
      disk,
      clock: this.clockOf(host),
      random: createStream(seed, `node ${id}`),
      host,
      identity: {
        cluster: 'simulated',
        node: id,
        members,
        replication,
        maxDriftMs: DEFAULT_MAX_DRIFT_MS,
        maxValueBytes: DEFAULT_LIMITS.maxValueBytes,
        tempo: this.shape.upkeep,
      },
      hostOf: (address) => this.hostOf(address),
      defect: this.defect,
      onStamp: (version) => {
        this.#nodeStamps.push({ node: id, disk: this.#disksLost.get(id) ?? 0, version });
      },
    });
  }

  /** By key the highest version that some node has dropped or hides. */
  #droppedByKey(): Map<string, string> {
    const dropped = new Map<string, string>();
    for (const [place, version] of this.#dropped) {
      const key = place.slice(place.indexOf('/') + 1);
      dropped.set(key, laterOf(dropped.get(key) ?? '', version));
    }
    // What a fence hides is not read any more, and is dropped soon.
    for (const { key, version, tombstone, expiresAtMs } of this.#stored.values()) {
      const fence = this.#fences.committedFor(key);
      if (version > fence || !(tombstone || expiresAtMs !== undefined)) continue;
      if (expiresAtMs !== undefined && expiresAtMs > wallMsOf(fence)) continue;
      dropped.set(key, laterOf(dropped.get(key) ?? '', version));
    }
    return dropped;
  }

  #onDropped(node: string, storeKey: Uint8Array): void {
    const record = this.nodes.find(({ id }) => id === node)?.disk.holds(storeKey);
    if (record === undefined) return;
    const place = `${node}/${Buffer.from(userKeyOf(storeKey)).toString()}`;
    const version = formatVersion(versionOf(record));
    this.#dropped.set(place, laterOf(this.#dropped.get(place) ?? '', version));
    const { trace, nowMs } = this.kernel;
    if (trace.textual) trace.say(nowMs, node, `disk drops ${place} ${version}`);
  }

  #onStored(node: string, storeKey: Uint8Array, value: Uint8Array | undefined): void {
    this.#fences.onStored(node, storeKey, value);
    if (storeKey[0] !== ALL_RECORDS.gte[0]) return;
    if (value === undefined) {
      this.#onDropped(node, storeKey);
      return;
    }
    const record = storedRecord(node, storeKey, value);
    const { trace, nowMs } = this.kernel;
    if (trace.textual) trace.say(nowMs, node, `disk has ${record.key} ${record.version}`);
    const name = `${record.key}@${record.version}@${record.digest}`;
    if (!this.#stored.has(name)) this.#stored.set(name, record);
  }
}

function metaOn(disk: SortedEntries, key: Uint8Array): Uint8Array | undefined {
  const sealed = disk.get(textOf(key));
  return sealed === undefined ? undefined : unseal(key, sealed);
}

/** Which life of a node the disk is of, and how far it had come; undefined: it is empty. */
function progressOn(disk: SortedEntries): Progress | undefined {
  const incarnation = metaOn(disk, INCARNATION_KEY);
  if (incarnation === undefined) return undefined;
  const counter = metaOn(disk, COMMIT_COUNTER_KEY);
  return {
    incarnation,
    commitCounter: counter === undefined ? 0 : Buffer.from(counter).readUIntBE(0, 6),
  };
}

function nameOf(storeKey: Uint8Array): string {
  return Buffer.from(storeKey).toString('latin1');
}

function wallMsOf(version: string): number {
  return parseVersion(version)?.wallMs ?? 0;
}

function userKeyNamed(name: string): string {
  return Buffer.from(userKeyOf(Buffer.from(name, 'latin1'))).toString();
}

function copiesOn(node: SimNode): ReadonlyMap<string, StoredRecord> {
  const copies = new Map<string, StoredRecord>();
  for (const [storeKey, value] of node.disk.entries(ALL_RECORDS)) {
    if (node.disk.isFlipped(storeKey)) continue;
    const record = storedRecord(node.id, storeKey, value);
    copies.set(record.key, record);
  }
  return copies;
}

function storedRecord(node: string, storeKey: Uint8Array, value: Uint8Array): StoredRecord {
  const fields = decodeRecord(value);
  return {
    node,
    key: Buffer.from(userKeyOf(storeKey)).toString(),
    version: formatVersion(versionOf(value)),
    digest: formatDigest(value),
    tombstone: fields?.tombstone ?? false,
    ...(fields?.expiresAtMs === undefined ? {} : { expiresAtMs: fields.expiresAtMs }),
    value:
      fields === undefined || fields.tombstone
        ? undefined
        : tokenOf(Buffer.from(fields.value).toString()),
  };
}
