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
import { systemTimers } from '../../src/io/timers.js';
import { openLocalReplica, type LocalReplica } from '../../src/replica/local-replica.js';

// What a replica makes of a disk: records a second and CPU a record through LocalReplica.apply, beside bare chained synced
// batches of the same records in the same run. Usage: node dist/test/bench/replica-apply.js [records] [in flight]

const RECORDS = Number(process.argv[2] ?? 100_000);
const IN_FLIGHT = Number(process.argv[3] ?? 256);
const VALUE_BYTES = 256;

const value = systemRandom.bytes(VALUE_BYTES);

class BenchCall implements ApplyCall {
  readonly keyHash: number;
  readonly source = 'write';
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

function callsOf(round: number): BenchCall[] {
  const wallMs = systemClock.wallMs();
  return Array.from({ length: RECORDS }, (_, i) => {
    const key = Buffer.from(`key/${((i * 7_919) % RECORDS).toString().padStart(9, '0')}`);
    const version = { wallMs, logical: round, writerHi: 1, writerLo: i };
    return new BenchCall(key, encodeRecord(key, { version, tombstone: false, value }));
  });
}

async function measure(name: string, work: () => Promise<void>): Promise<number> {
  const cpu = process.cpuUsage();
  const startMs = systemClock.monotonicMs();
  await work();
  const elapsedMs = systemClock.monotonicMs() - startMs;
  const used = process.cpuUsage(cpu);
  const perSecond = (RECORDS / elapsedMs) * 1_000;
  const cpuMicros = (used.user + used.system) / RECORDS;
  console.log(
    `${name.padEnd(34)} ${perSecond.toFixed(0).padStart(8)} records/s ${cpuMicros.toFixed(1).padStart(6)} µs of CPU a record`,
  );
  return perSecond;
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
  const calls = callsOf(0);
  const store = await openLevelStore(join(folder, 'bare'));
  const bare = await measure(`bare batches of ${IN_FLIGHT}`, async () => {
    for (let from = 0; from < RECORDS; from += IN_FLIGHT) {
      const batch = store.batch();
      for (const call of calls.slice(from, from + IN_FLIGHT)) batch.put(call.key, call.record);
      await batch.commit({ sync: true });
    }
  });
  await store.close();

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
  });
  const fresh = await measure('LocalReplica.apply, new keys', () => applyAll(replica, calls));
  const newer = callsOf(1);
  await measure('LocalReplica.apply, keys known', () => applyAll(replica, newer));
  await replica.close();
  console.log(`new keys reach ${((100 * fresh) / bare).toFixed(0)} % of bare batches`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
