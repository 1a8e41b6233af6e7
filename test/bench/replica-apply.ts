import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash32 } from '../../src/core/hash.js';
import { encodeRecord } from '../../src/core/record.js';
import { systemClock } from '../../src/io/clock.js';
import { levelStoreOpener, openLevelStore } from '../../src/io/level-store.js';
import { silentLog } from '../../src/io/log.js';
import type { ApplyAnswer, ApplyCall } from '../../src/io/peer.js';
import { systemRandom } from '../../src/io/random.js';
import type { Store } from '../../src/io/store.js';
import { systemTimers } from '../../src/io/timers.js';
import { openLocalReplica, type LocalReplica } from '../../src/replica/local-replica.js';

// What a replica makes of a disk: records a second and CPU a record through LocalReplica.apply, beside bare chained synced
// batches of the same records. Bare batches and new keys take turns, so that what else the machine does falls on both alike.
// Usage: node dist/test/bench/replica-apply.js [records] [in flight]

const RECORDS = Number(process.argv[2] ?? 100_000);
const IN_FLIGHT = Number(process.argv[3] ?? 256);
const TURNS = 10;
const VALUE_BYTES = 256;

const value = systemRandom.bytes(VALUE_BYTES);

class BenchCall implements ApplyCall {
  readonly keyHash: number;
  readonly source = 'write';
  readonly fence = new Uint8Array(0);
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  readonly placementVersion = 1;
  readonly traceparent = new Uint8Array(0);
  onDone: (answer: ApplyAnswer) => void = () => {};

  constructor(
    readonly key: Uint8Array,
    readonly record: Uint8Array,
  ) {
    this.keyHash = hash32(key);
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    this.onDone(answer);
  }
}

/** The records of one turn, whose keys come in no order. */
function callsOf(turn: number, logical: number): BenchCall[] {
  const wallMs = systemClock.wallMs();
  return Array.from({ length: RECORDS / TURNS }, (_, i) => {
    const place = ((turn * (RECORDS / TURNS) + i) * 7_919) % RECORDS;
    const key = Buffer.from(`key/${place.toString().padStart(9, '0')}`);
    const version = { wallMs, logical, writerHi: 1, writerLo: i };
    return new BenchCall(key, encodeRecord(key, { version, tombstone: false, value }));
  });
}

/** Sums up the turns of one way to write. */
class Meter {
  #elapsedMs = 0;
  #cpuMicros = 0;

  constructor(readonly name: string) {}

  async turn(work: () => Promise<void>): Promise<void> {
    const cpu = process.cpuUsage();
    const startMs = systemClock.monotonicMs();
    await work();
    this.#elapsedMs += systemClock.monotonicMs() - startMs;
    const { user, system } = process.cpuUsage(cpu);
    this.#cpuMicros += user + system;
  }

  get perSecond(): number {
    return (RECORDS / this.#elapsedMs) * 1_000;
  }

  toString(): string {
    const rate = this.perSecond.toFixed(0).padStart(8);
    const cpu = (this.#cpuMicros / RECORDS).toFixed(1).padStart(6);
    return `${this.name.padEnd(34)} ${rate} records/s ${cpu} µs of CPU a record`;
  }
}

async function writeBare(store: Store, calls: readonly BenchCall[]): Promise<void> {
  for (let from = 0; from < calls.length; from += IN_FLIGHT) {
    const batch = store.batch();
    for (const call of calls.slice(from, from + IN_FLIGHT)) batch.put(call.key, call.record);
    await batch.commit({ sync: true });
  }
}

/** Keeps `IN_FLIGHT` calls under way. Every one must be applied. */
function applyAll(replica: LocalReplica, calls: readonly BenchCall[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let answered = 0;
    const onDone = (answer: ApplyAnswer) => {
      if (answer.kind !== 'applied') reject(new Error(`not applied: ${JSON.stringify(answer)}`));
      answered += 1;
      if (answered === calls.length) resolve();
      else if (sent < calls.length) send();
    };
    const send = () => {
      const call = calls[sent++] as BenchCall;
      call.onDone = onDone;
      replica.apply(call, 0);
    };
    while (sent < Math.min(IN_FLIGHT, calls.length)) send();
  });
}

const folder = await mkdtemp(join(tmpdir(), 'quorate-bench-'));
try {
  const store = await openLevelStore(join(folder, 'bare'));
  const replica = await openLocalReplica({
    opener: levelStoreOpener(join(folder, 'replica')),
    identity: { clusterId: 'bench', clusterName: 'bench', nodeId: 'n1' },
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    log: silentLog,
    maxDriftMs: 500,
    placementVersion: () => 1,
    quarantined: () => false,
    trustFolder: true,
  });
  const bare = new Meter(`bare batches of ${IN_FLIGHT}`);
  const fresh = new Meter('LocalReplica.apply, new keys');
  const known = new Meter('LocalReplica.apply, keys on disk');
  for (let turn = 0; turn < TURNS; turn++) {
    const calls = callsOf(turn, 0);
    await bare.turn(() => writeBare(store, calls));
    await fresh.turn(() => applyAll(replica, calls));
  }
  for (let turn = 0; turn < TURNS; turn++) {
    const calls = callsOf(turn, 1);
    await known.turn(() => applyAll(replica, calls));
  }
  await replica.close();
  await store.close();
  for (const meter of [bare, fresh, known]) console.log(meter.toString());
  console.log(
    `new keys reach ${((100 * fresh.perSecond) / bare.perSecond).toFixed(0)} % of bare batches`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
