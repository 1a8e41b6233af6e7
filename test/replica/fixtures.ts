import { NO_FENCE } from '../../src/core/fence.js';
import { hash32 } from '../../src/core/hash.js';
import { encodeLedger } from '../../src/core/ledger.js';
import { encodeRecord, versionOf } from '../../src/core/record.js';
import { ZERO_VERSION } from '../../src/core/version.js';
import { silentLog } from '../../src/io/log.js';
import type {
  ApplyAnswer,
  ApplyCall,
  ApplySource,
  PrepareAnswer,
  PrepareCall,
  ReadAnswer,
  ReadCall,
  ReplicaScan,
} from '../../src/io/peer.js';
import type { StoreOpener } from '../../src/io/store.js';
import {
  openLocalReplica,
  type LocalReplica,
  type LocalReplicaOptions,
} from '../../src/replica/local-replica.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';

export const START_WALL_MS = 1_700_000_000_000;
export const MAX_DRIFT_MS = 500;
export const IDENTITY = { clusterId: 'c-1', clusterName: 'cities', nodeId: 'n1' };

const ALL_PARTITIONS = new Uint8Array(32).fill(0xff);

export function bytes(text: string): Buffer {
  return Buffer.from(text, 'utf8');
}

/** A record of `key` stamped `atMs` after the start of the virtual wall clock. */
export function recordOf(key: Uint8Array, atMs: number, value = `value at ${atMs}`): Uint8Array {
  const version = { wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 1, writerLo: 1 };
  return encodeRecord(key, { version, tombstone: false, value: bytes(value) });
}

/** What a round of another writer proposes `atMs` after the start of the virtual wall clock. */
export function proposalOf(key: Uint8Array, atMs: number, leased = false): Uint8Array {
  const version = { wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 2, writerLo: 2 };
  const ledger = encodeLedger(ZERO_VERSION);
  const value = bytes(`proposal at ${atMs}`);
  return encodeRecord(key, { version, tombstone: false, value, ledger, leased });
}

/** How far after the start of the virtual wall clock a record is stamped. */
export function stampedAt(record: Uint8Array): number {
  return versionOf(record).wallMs - START_WALL_MS;
}

export interface ApplyChoices {
  readonly source?: ApplySource;
  readonly fence?: Uint8Array;
  readonly deadlineMs?: number;
  readonly placementVersion?: number;
}

export interface TestApply extends ApplyCall {
  /** In the order in which they came. */
  readonly answers: ApplyAnswer[];
}

export function applyCall(
  key: Uint8Array,
  record: Uint8Array,
  choices: ApplyChoices = {},
  onAnswer: (answer: ApplyAnswer) => void = () => {},
): TestApply {
  const answers: ApplyAnswer[] = [];
  return {
    key,
    keyHash: hash32(key),
    record,
    source: choices.source ?? 'write',
    fence: choices.fence ?? NO_FENCE,
    deadlineMs: choices.deadlineMs ?? Number.POSITIVE_INFINITY,
    placementVersion: choices.placementVersion ?? 1,
    traceparent: new Uint8Array(0),
    answers,
    onApplied(_slot, answer) {
      answers.push(answer);
      onAnswer(answer);
    },
  };
}

export interface TestRead extends ReadCall {
  readonly answers: ReadAnswer[];
}

export function readCall(key: Uint8Array, choices: ApplyChoices = {}): TestRead {
  const answers: ReadAnswer[] = [];
  return {
    key,
    keyHash: hash32(key),
    deadlineMs: choices.deadlineMs ?? Number.POSITIVE_INFINITY,
    placementVersion: choices.placementVersion ?? 1,
    traceparent: new Uint8Array(0),
    answers,
    onRead(_slot, answer) {
      answers.push(answer);
    },
  };
}

export function scanOf(choices: Partial<ReplicaScan> = {}): ReplicaScan {
  return {
    gte: new Uint8Array(0),
    lt: new Uint8Array(0),
    reverse: false,
    limit: 100,
    maxBytes: 1_000_000,
    partitions: ALL_PARTITIONS,
    whole: ALL_PARTITIONS,
    asDigest: false,
    placementVersion: 1,
    ...choices,
  };
}

export interface TestReplica {
  readonly time: VirtualTime;
  readonly replica: LocalReplica;
}

/** A replica under virtual time; settled, so that its filter of keys is complete. */
export async function openTestReplica(
  opener: StoreOpener,
  choices: Partial<LocalReplicaOptions> = {},
  time = createVirtualTime(START_WALL_MS),
): Promise<TestReplica> {
  const replica = await openLocalReplica({
    opener,
    identity: IDENTITY,
    clock: time.clock,
    timers: time.timers,
    random: seededRandom(1),
    log: silentLog,
    maxDriftMs: MAX_DRIFT_MS,
    placementVersion: () => 1,
    quarantined: () => false,
    // Nobody is there to say that it is new.
    trustFolder: true,
    ...choices,
  });
  await time.settle();
  return { time, replica };
}

/** Applies one record and gives the answer. */
export async function applyOne(
  { replica, time }: TestReplica,
  key: Uint8Array,
  record: Uint8Array,
  choices: ApplyChoices = {},
): Promise<ApplyAnswer | undefined> {
  const call = applyCall(key, record, choices);
  replica.apply(call, 0);
  await time.settle();
  return call.answers[0];
}

/** Reads one key and gives the answer. */
export async function readOne(
  { replica, time }: TestReplica,
  key: Uint8Array,
  part: 'record' | 'header' = 'record',
  choices: ApplyChoices = {},
): Promise<ReadAnswer | undefined> {
  const call = readCall(key, choices);
  replica.read(call, 0, part);
  await time.settle();
  return call.answers[0];
}

/** Asks for a promise and gives the answer. */
export async function prepareOne(
  { replica, time }: TestReplica,
  key: Uint8Array,
  ballot: Uint8Array,
  named: Partial<Pick<PrepareCall, 'above' | 'known'>> = {},
): Promise<PrepareAnswer | undefined> {
  let given: PrepareAnswer | undefined;
  const call = {
    key,
    keyHash: hash32(key),
    ballot,
    above: new Uint8Array(0),
    known: new Uint8Array(0),
    ...named,
    deadlineMs: Number.POSITIVE_INFINITY,
    placementVersion: 1,
    traceparent: new Uint8Array(0),
    onPrepared(_slot: number, answer: PrepareAnswer): void {
      given = answer;
    },
  };
  replica.prepare(call, 0);
  await time.settle();
  return given;
}

/** Closes while virtual time stands still. */
export async function closeReplica({ replica, time }: TestReplica): Promise<void> {
  const closed = replica.close();
  await time.settle();
  await closed;
}
