import type { Entry, Kv } from '../../src/client/kv.js';
import type { Expect } from '../../src/client/linearizable.js';
import type { Consistency } from '../../src/core/consistency.js';
import { KvError } from '../../src/core/errors.js';
import { formatVersion, parseVersion, type Version } from '../../src/core/version.js';
import type { FoundEntry } from './history.js';
import { ClientWitness, type Draft, type Ended, type Recorder } from './recorder.js';
import type { Stream } from './seed.js';

/** What an operation asks for beside its key. */
export interface Ask {
  readonly level: Consistency;
  readonly zone?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Of a put. */
  readonly ttlMs?: number;
}

/** How a compare-and-set is asked for. */
export interface CasForm {
  /** The version of the value that is expected, to be asked for in its place: no two writes have one value. */
  readonly changed?: string | undefined;
  readonly isDelete?: boolean;
}

/** What a client is surrounded by: who writes down, and who knows what no client sees. */
export interface Surroundings {
  readonly recorder: Recorder;
  /** A value that nobody has written before. */
  nextToken(): string;
  /** Takes note of what no law speaks of. */
  problem(text: string): void;
  /** On how many replicas (of a zone) the version, or something newer, is durable; undefined: nobody can tell. */
  holders(key: string, version: string, zone?: string): number | undefined;
}

/** What a value is padded with to its size; only what comes before it is told in histories. */
const PADDING = '~';

export function tokenOf(value: string): string {
  const end = value.indexOf(PADDING);
  return end < 0 ? value : value.slice(0, end);
}

/** A user of the SDK who writes down what it did and saw. */
export abstract class RecordedClient {
  readonly name: string;
  /** What this client does next. */
  readonly stream: Stream;
  protected readonly around: Surroundings;
  protected readonly witness = new ClientWitness();
  protected kv: Kv<string> | undefined;

  constructor(around: Surroundings, name: string, stream: Stream) {
    this.around = around;
    this.name = name;
    this.stream = stream;
  }

  /** The version that was read, a tombstone's too; undefined when the read failed. */
  async get(key: string, ask: Ask, minVersion?: string): Promise<string | undefined> {
    const started = { op: 'get' as const, key, level: ask.level, zone: ask.zone ?? '' };
    const draft = this.begin({ ...started, ...(minVersion === undefined ? {} : { minVersion }) });
    const least = minVersion === undefined ? undefined : (parseVersion(minVersion) as Version);
    const options = { ...optionsOf(ask), ...(least === undefined ? {} : { minVersion: least }) };
    await this.perform(draft, async () => {
      const entry = await this.connected().getEntry(key, options);
      if (entry === undefined) return { status: 'ok', version: draft.answered ?? '' };
      const version = formatVersion(entry.version);
      return { status: 'ok', version, value: tokenOf(entry.value) };
    });
    return draft.ended?.version;
  }

  /** The value that was read; undefined when there was none, or the read failed. */
  async getValue(key: string, ask: Ask): Promise<string | undefined> {
    const draft = this.begin({ op: 'get', key, level: ask.level, zone: ask.zone ?? '' });
    await this.perform(draft, async () => {
      const value = await this.connected().get(key, optionsOf(ask));
      return { status: 'ok', ...(value === undefined ? {} : { value: tokenOf(value) }) };
    });
    return draft.ended?.value;
  }

  /** The version that was written; undefined when the write failed. */
  async put(key: string, ask: Ask, bytes = 0): Promise<string | undefined> {
    const draft = this.beginPut(key, ask);
    await this.perform(draft, async () => {
      const value = padded(draft.started.value as string, bytes);
      const written = await this.connected().put(key, value, optionsOf(ask));
      return this.written(draft, formatVersion(written.version), written.shadowedBy);
    });
    return draft.ended?.version;
  }

  async delete(key: string, ask: Ask): Promise<string | undefined> {
    const draft = this.beginDelete(key, ask);
    await this.perform(draft, async () => {
      const written = await this.connected().delete(key, optionsOf(ask));
      return this.written(draft, formatVersion(written.version), written.shadowedBy);
    });
    return draft.ended?.version;
  }

  /** Writes (undefined: deletes) at LINEARIZABLE; when nobody knows what became of it, asks as often as not. */
  async putLinear(key: string, isDelete: boolean, ask: Ask): Promise<void> {
    const draft = isDelete ? this.beginDelete(key, ask) : this.beginPut(key, ask);
    await this.perform(draft, () =>
      this.#orAsked(async () => {
        const { value } = draft.started;
        const kv = this.connected();
        if (value === undefined) await kv.delete(key, optionsOf(ask));
        else await kv.put(key, value, optionsOf(ask));
        return { status: 'ok' };
      }),
    );
  }

  /** The value that the key holds afterwards, as far as it is known; undefined: nothing. */
  async cas(
    key: string,
    expected: string | undefined,
    ask: Ask,
    { changed, isDelete = false }: CasForm = {},
  ): Promise<string | undefined> {
    const value = isDelete ? undefined : this.around.nextToken();
    const { level, zone = '', ...options } = ask;
    const draft = this.begin({
      op: 'cas',
      key,
      level,
      zone,
      ...(value === undefined ? {} : { value }),
      ...(expected === undefined ? {} : { expected }),
      ...(ask.ttlMs === undefined ? {} : { ttlMs: ask.ttlMs }),
    });
    let found: string | undefined = expected;
    await this.perform(draft, () =>
      this.#orAsked(async () => {
        const expect = expectOf(expected, changed);
        const result = await this.connected().cas(key, { ...options, expect }, value);
        if (result.swapped) {
          found = value;
          return { status: 'ok', swapped: true };
        }
        found = result.found?.value;
        return { status: 'ok', swapped: false, found: foundBy(key, result.found) };
      }),
    );
    return found;
  }

  async #orAsked(act: () => Promise<Ended>): Promise<Ended> {
    try {
      return await act();
    } catch (error) {
      const id = error instanceof KvError ? error.requestId : undefined;
      if (id === undefined || this.stream.chance(0.5)) throw error;
      const outcome = await this.connected()
        .outcome(id, { timeoutMs: 3_000 })
        .catch(() => undefined);
      switch (outcome?.result) {
        case 'applied':
          return { status: 'ok', swapped: true };
        case 'lost':
          return { status: 'ok', swapped: false };
        case 'never':
          return { status: 'fail', code: 'CANCELLED' };
        case 'forgotten':
        case undefined:
          throw error;
      }
    }
  }

  protected connected(): Kv<string> {
    if (this.kv === undefined) throw new Error(`${this.name} is not connected`);
    return this.kv;
  }

  protected beginPut(key: string, ask: Ask): Draft {
    const value = this.around.nextToken();
    const { level, zone = '', ttlMs } = ask;
    const started = { op: 'put', key, level, zone, value } as const;
    return this.begin(ttlMs === undefined ? started : { ...started, ttlMs });
  }

  protected beginDelete(key: string, ask: Ask): Draft {
    return this.begin({ op: 'delete', key, level: ask.level, zone: ask.zone ?? '' });
  }

  protected begin(started: Parameters<Recorder['begin']>[1]): Draft {
    const draft = this.around.recorder.begin(this.name, started);
    if (started.op !== 'scan') this.witness.begins(draft);
    return draft;
  }

  protected async perform(draft: Draft, act: () => Promise<Ended>): Promise<void> {
    let ended: Ended;
    try {
      ended = await act();
    } catch (error) {
      ended = this.failure(draft, error);
    }
    this.end(draft, ended);
  }

  protected end(draft: Draft, ended: Ended): void {
    this.witness.ends(draft);
    this.around.recorder.end(draft, ended);
  }

  protected written(draft: Draft, version: string, shadowedBy?: Version): Ended {
    const { key, zone, level } = draft.started;
    const local = level === 'LOCAL_ONE' || level === 'LOCAL_QUORUM';
    const holders = this.around.holders(key, version, local ? zone : undefined);
    return {
      status: 'ok',
      version,
      ...(holders === undefined ? {} : { holders }),
      ...(shadowedBy === undefined ? {} : { isShadowed: true }),
    };
  }

  /** Whatever is thrown that is no KvError is a defect of the SDK. */
  protected failure(draft: Draft, error: unknown): Ended {
    if (!(error instanceof KvError)) {
      this.around.problem(`${this.name} was thrown ${String(error)}`);
      return { status: 'unknown' };
    }
    if (error.code === 'INTERNAL' || error.code === 'INVALID_ARGUMENT') {
      this.around.problem(`${this.name} was refused ${draft.started.op}: ${error.message}`);
    }
    const happened = error.outcome === 'none' || draft.started.op === 'get' ? 'fail' : 'unknown';
    return { status: happened, code: error.code };
  }
}

function foundBy(key: string, entry: Entry<string> | undefined): readonly FoundEntry[] {
  if (entry === undefined) return [];
  return [{ key, value: tokenOf(entry.value), version: formatVersion(entry.version) }];
}

export function optionsOf(ask: Ask): Omit<Ask, 'level'> & { readonly consistency: Consistency } {
  const { level, ...rest } = ask;
  return { ...rest, consistency: level };
}

function expectOf(expected: string | undefined, changed: string | undefined): Expect<string> {
  if (changed !== undefined) return { version: parseVersion(changed) as Version };
  return expected === undefined ? 'absent' : { value: expected };
}

function padded(token: string, bytes: number): string {
  return token.length >= bytes ? token : token.padEnd(bytes, PADDING);
}
