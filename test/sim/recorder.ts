import type { Consistency } from '../../src/core/consistency.js';
import type { ErrorCode } from '../../src/core/errors.js';
import { versionOf } from '../../src/core/record.js';
import { formatVersion, readVersion } from '../../src/core/version.js';
import type { NodeAnswer, NodeCall } from '../../src/io/link.js';
import type { FoundEntry, HistoryEntry } from './history.js';
import type { LinkWitness } from './link-port.js';
import type { Trace } from './trace.js';

/** An operation that has begun, and what its client asked for. */
export interface Started {
  readonly op: HistoryEntry['op'];
  readonly key: string;
  readonly level: Consistency;
  readonly zone: string;
  readonly value?: string;
  readonly minVersion?: string;
  readonly range?: { readonly gte: string; readonly lt: string };
  readonly foreignStamp?: boolean;
  readonly ttlMs?: number;
  readonly expected?: string;
}

export interface Ended {
  readonly status: HistoryEntry['status'];
  readonly code?: ErrorCode;
  readonly value?: string;
  readonly version?: string;
  readonly found?: readonly FoundEntry[];
  readonly holders?: number;
  readonly isShadowed?: boolean;
  readonly swapped?: boolean;
}

/** An operation as it goes on. Nothing in it is changed once it has ended. */
export class Draft {
  readonly stamps = new Set<string>();
  attempts = 0;
  /**
   * Of a get: the version of the record that the last successful answer carried; of a write at LINEARIZABLE the one that it named.
   * Empty when there was none.
   */
  answered: string | undefined;
  ended: Ended | undefined;
  endedMs = 0;
  endedOrder = 0;

  constructor(
    readonly index: number,
    readonly process: string,
    readonly started: Started,
    readonly startedMs: number,
    readonly startedOrder: number,
  ) {}
}

/** What histories are timed by: virtual time, or the clock of the process that all clients are in. */
export interface Timeline {
  readonly nowMs: number;
  /** A number above all given before. */
  nextOrder(): number;
}

/** Writes the history of a run, from what clients did and from what passed between them and the nodes. */
export class Recorder {
  readonly #time: Timeline;
  readonly #trace: Trace | undefined;
  readonly #drafts: Draft[] = [];

  constructor(time: Timeline, trace?: Trace) {
    this.#time = time;
    this.#trace = trace;
  }

  /** How many operations have begun. */
  get begun(): number {
    return this.#drafts.length;
  }

  begin(process: string, started: Started): Draft {
    const { nowMs } = this.#time;
    const order = this.#time.nextOrder();
    const draft = new Draft(this.#drafts.length, process, started, nowMs, order);
    this.#drafts.push(draft);
    return draft;
  }

  end(draft: Draft, ended: Ended): void {
    draft.ended = ended;
    draft.endedMs = this.#time.nowMs;
    draft.endedOrder = this.#time.nextOrder();
    const trace = this.#trace;
    if (trace === undefined) return;
    trace.mix(draft.index);
    trace.mixMs(draft.endedMs);
    trace.mixText(`${ended.status}${ended.version ?? ''}${ended.value ?? ''}${ended.code ?? ''}`);
  }

  /** What was never answered has ended now, and nobody knows how. */
  history(): HistoryEntry[] {
    const endOrder = this.#time.nextOrder();
    return this.#drafts.map((draft) => entryOf(draft, this.#time.nowMs, endOrder));
  }
}

function entryOf(draft: Draft, nowMs: number, endOrder: number): HistoryEntry {
  const { index, process, started, ended, stamps, attempts } = draft;
  const { op, key, level, zone, range, minVersion } = started;
  const isWrite = op === 'put' || op === 'delete';
  const value = isWrite || op === 'cas' ? started.value : ended?.value;
  const version = ended?.version ?? (ended?.status === 'ok' ? draft.answered : undefined);
  return {
    index,
    process,
    op,
    key,
    level,
    zone,
    status: ended?.status ?? 'unknown',
    ...(ended?.code === undefined ? {} : { code: ended.code }),
    callMs: draft.startedMs,
    returnMs: ended === undefined ? nowMs : draft.endedMs,
    call: draft.startedOrder,
    return: ended === undefined ? endOrder + index : draft.endedOrder,
    ...(value === undefined ? {} : { value }),
    ...(version === undefined ? {} : { version }),
    ...(isWrite ? { stamps: [...stamps], attempts } : {}),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(started.ttlMs === undefined ? {} : { ttlMs: started.ttlMs }),
    ...(started.foreignStamp === true ? { foreignStamp: true } : {}),
    ...(ended?.isShadowed === true ? { isShadowed: true } : {}),
    ...(started.expected === undefined ? {} : { expected: started.expected }),
    ...(ended?.swapped === undefined ? {} : { swapped: ended.swapped }),
    ...(ended?.holders === undefined ? {} : { holders: ended.holders }),
    ...(range === undefined ? {} : { range }),
    ...(ended?.found === undefined ? {} : { found: ended.found }),
  };
}

/** Ties what one client's SDK sends to the operation that it sends it for: one at a time for each key. */
export class ClientWitness implements LinkWitness {
  readonly #underWay = new Map<string, Draft>();
  readonly #drafts = new WeakMap<NodeCall, Draft>();

  begins(draft: Draft): void {
    this.#underWay.set(draft.started.key, draft);
  }

  ends(draft: Draft): void {
    if (this.#underWay.get(draft.started.key) === draft) {
      this.#underWay.delete(draft.started.key);
    }
  }

  sent(call: NodeCall): void {
    const draft = this.#underWay.get(Buffer.from(call.key).toString());
    if (draft === undefined) return;
    this.#drafts.set(call, draft);
    draft.attempts++;
    if (call.kind === 'put') draft.stamps.add(formatVersion(versionOf(call.record)));
  }

  answered(call: NodeCall, answer: NodeAnswer): void {
    const draft = this.#drafts.get(call);
    if (draft === undefined || draft.ended !== undefined || answer.code !== undefined) return;
    if (call.kind !== 'get') {
      const { result, version } = answer;
      if (result === undefined) return;
      draft.answered = version === undefined ? '' : formatVersion(readVersion(version, 0));
      return;
    }
    draft.answered = answer.record === undefined ? '' : formatVersion(versionOf(answer.record));
  }
}
