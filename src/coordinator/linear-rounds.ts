import { majority } from '../core/consistency.js';
import type { Outcome } from '../core/errors.js';
import { decodeExpectation } from '../core/expectation.js';
import type { Change, NextValue } from '../core/linear-decision.js';
import { LatencyEstimate } from '../core/latency.js';
import { decodeRecord, versionOf, type RecordFields } from '../core/record.js';
import { readVersion, ZERO_VERSION, type Version } from '../core/version.js';
import type { Random } from '../io/random.js';
import type { Timers } from '../io/timers.js';
import { ChosenRecords } from './chosen-records.js';
import type { Context, Rounds } from './context.js';
import type { Level } from './door.js';
import { KeyTurns } from './key-turns.js';
import { LinearOperation, NOT_BEATEN, type LinearTerms } from './linear-operation.js';
import type { Operation } from './operation.js';
import type { Route } from './routes.js';

/** What operations that run rounds share. */
export interface RoundPorts {
  readonly context: Context;
  readonly timers: Timers;
  readonly random: Random;
  /** Above all that the node's clock has issued or seen. Rejects with a KvError. */
  readonly stamp: () => Promise<Version>;
  /** Stamps that are further ahead of the wall are no ballots. */
  readonly maxDriftMs: number;
  readonly turns: KeyTurns;
  readonly chosen: ChosenRecords;
  /** How long it takes until a majority has promised. */
  readonly promising: LatencyEstimate;
  majorityOf(route: Route): number;
}

/** The rounds of one coordinator. */
export class LinearRounds implements Rounds {
  readonly #ports: RoundPorts;

  constructor(ports: Pick<RoundPorts, 'context' | 'timers' | 'random' | 'stamp' | 'maxDriftMs'>) {
    this.#ports = {
      ...ports,
      turns: new KeyTurns(),
      chosen: new ChosenRecords(),
      promising: new LatencyEstimate(),
      majorityOf: (route) => majority(route.peers.length),
    };
  }

  /** `above`: a replica is known to refuse ballots that are not above it. */
  read(
    operation: Operation,
    keyHash: number,
    route: Route,
    level: Level,
    above = NOT_BEATEN,
  ): void {
    const read = { kind: 'read' } as const;
    this.#run(operation, keyHash, route, level, ZERO_VERSION, read, 'none', above);
  }

  write(operation: Operation, keyHash: number, route: Route, level: Level, outcome: Outcome): void {
    const next = nextOf(decodeRecord(operation.record) as RecordFields);
    const id = versionOf(operation.record);
    this.#run(operation, keyHash, route, level, id, { kind: 'plain', next }, outcome);
  }

  /** A put or an outcome at LINEARIZABLE, which the door has let in. */
  carryOut(operation: Operation, keyHash: number, route: Route, level: Level): void {
    if (operation.kind === 'outcome') {
      const id = readVersion(operation.minVersion, 0);
      this.#run(operation, keyHash, route, level, id, { kind: 'outcome' });
      return;
    }
    const next = nextOf(decodeRecord(operation.record) as RecordFields);
    const expect = decodeExpectation(operation.expect);
    const change: Change = { kind: 'write', next, ...(expect === undefined ? {} : { expect }) };
    this.#run(operation, keyHash, route, level, versionOf(operation.record), change);
  }

  #run(
    operation: Operation,
    keyHash: number,
    route: Route,
    level: Level,
    id: Version,
    change: Change,
    outcome: Outcome = 'none',
    above = NOT_BEATEN,
  ): void {
    const terms: LinearTerms = { operation, keyHash, route, level, id, change, outcome, above };
    new LinearOperation(this.#ports, terms).start();
  }
}

function nextOf({ tombstone, value, expiresAtMs }: RecordFields): NextValue {
  return { value: tombstone ? undefined : value, expiresAtMs };
}
