import { connectThrough } from '../../src/client/connect-through.js';
import { textCodec } from '../../src/client/codec.js';
import type { BatchOperation, Entry, Kv } from '../../src/client/kv.js';
import type { Consistency } from '../../src/core/consistency.js';
import { KvError } from '../../src/core/errors.js';
import { formatVersion, parseVersion, type Version } from '../../src/core/version.js';
import type { FoundEntry } from './history.js';
import type { UnstampedAnswer, UnstampedPut } from './link-port.js';
import { createSimLinker } from './link-port.js';
import type { Channel } from './channel.js';
import { SimProcess } from './process.js';
import { ClientWitness, type Draft, type Ended, type Recorder } from './recorder.js';
import type { Stream } from './seed.js';
import type { World } from './world.js';

/** What an operation asks for beside its key. */
export interface Ask {
  readonly level: Consistency;
  readonly zone?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Of a put. */
  readonly ttlMs?: number;
}

/** What a value is padded with to its size; only what comes before it is told in histories. */
const PADDING = '~';

export function tokenOf(value: string): string {
  const end = value.indexOf(PADDING);
  return end < 0 ? value : value.slice(0, end);
}

/** One process that uses the SDK, or the unary service, and writes down what it did and saw. */
export class SimClient {
  readonly name: string;
  readonly process: SimProcess;
  /** What this client does next. */
  readonly stream: Stream;
  /** Resolves when it has ended what it was given to do. Never, when its process dies first. */
  done: Promise<void> = Promise.resolve();
  readonly #world: World;
  readonly #recorder: Recorder;
  readonly #witness = new ClientWitness();
  #kv: Kv<string> | undefined;
  #unary: Channel[] = [];

  constructor(world: World, name: string, host: number, stream: Stream) {
    this.#world = world;
    this.#recorder = world.recorder;
    this.name = name;
    this.stream = stream;
    const clock = world.clockOf(host);
    this.process = new SimProcess(world.kernel, name, host, clock, stream);
  }

  /** Resolves when it is connected, however often it has to try. */
  async connect(): Promise<void> {
    const { network, shape, defect } = this.#world;
    const { process } = this;
    const linker = createSimLinker(network, process, (at) => this.#world.hostOf(at), this.#witness);
    const ports = {
      clock: process.clock,
      timers: process.timers,
      random: process.random,
      linker: defect?.linker?.(linker, process) ?? linker,
    };
    const endpoints = this.stream.shuffled(shape.members).map((member) => member.address);
    while (this.#kv === undefined) {
      try {
        this.#kv = await connectThrough({ endpoints, codec: textCodec }, ports);
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        await this.pause(100);
      }
    }
  }

  pause(durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.process.post(durationMs, resolve);
    });
  }

  think(): Promise<void> {
    return this.pause(this.stream.exponential(this.#world.shape.thinkMs));
  }

  /** The version that was read, a tombstone's too; undefined when the read failed. */
  async get(key: string, ask: Ask, minVersion?: string): Promise<string | undefined> {
    const started = { op: 'get' as const, key, level: ask.level, zone: ask.zone ?? '' };
    const draft = this.#begin({ ...started, ...(minVersion === undefined ? {} : { minVersion }) });
    const least = minVersion === undefined ? undefined : (parseVersion(minVersion) as Version);
    const options = { ...optionsOf(ask), ...(least === undefined ? {} : { minVersion: least }) };
    await this.#perform(draft, async () => {
      const entry = await this.#connected().getEntry(key, options);
      if (entry === undefined) return { status: 'ok', version: draft.answered ?? '' };
      const version = formatVersion(entry.version);
      return { status: 'ok', version, value: tokenOf(entry.value) };
    });
    return draft.ended?.version;
  }

  /** The value that was read; undefined when there was none, or the read failed. */
  async getValue(key: string, ask: Ask): Promise<string | undefined> {
    const draft = this.#begin({ op: 'get', key, level: ask.level, zone: ask.zone ?? '' });
    await this.#perform(draft, async () => {
      const value = await this.#connected().get(key, optionsOf(ask));
      return { status: 'ok', ...(value === undefined ? {} : { value: tokenOf(value) }) };
    });
    return draft.ended?.value;
  }

  /** The version that was written; undefined when the write failed. */
  async put(key: string, ask: Ask, bytes = 0): Promise<string | undefined> {
    const draft = this.#beginPut(key, ask);
    await this.#perform(draft, async () => {
      const value = padded(draft.started.value as string, bytes);
      const written = await this.#connected().put(key, value, optionsOf(ask));
      return this.#written(draft, formatVersion(written.version), written.shadowedBy);
    });
    return draft.ended?.version;
  }

  /** Writes (undefined: deletes) at LINEARIZABLE; when nobody knows what became of it, asks as often as not. */
  async putLinear(key: string, isDelete: boolean, ask: Ask): Promise<void> {
    const draft = isDelete ? this.#beginDelete(key, ask) : this.#beginPut(key, ask);
    await this.#perform(draft, () =>
      this.#orAsked(async () => {
        const { value } = draft.started;
        const kv = this.#connected();
        if (value === undefined) await kv.delete(key, optionsOf(ask));
        else await kv.put(key, value, optionsOf(ask));
        return { status: 'ok' };
      }),
    );
  }

  /** The value that the key holds afterwards, as far as it is known; undefined: nothing. */
  async cas(key: string, expected: string | undefined, ask: Ask): Promise<string | undefined> {
    const value = this.#world.nextToken();
    const { level, zone = '', ...options } = ask;
    const draft = this.#begin({
      op: 'cas',
      key,
      level,
      zone,
      value,
      ...(expected === undefined ? {} : { expected }),
      ...(ask.ttlMs === undefined ? {} : { ttlMs: ask.ttlMs }),
    });
    let found: string | undefined = expected;
    await this.#perform(draft, () =>
      this.#orAsked(async () => {
        const expect = expected === undefined ? ('absent' as const) : { value: expected };
        const result = await this.#connected().cas(key, { ...options, expect }, value);
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
      const outcome = await this.#connected()
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

  /** A write whose stamp the caller gives: `agoMs` old, so that it comes after newer ones. */
  async putLate(key: string, agoMs: number, ask: Ask): Promise<void> {
    const { level, zone = '' } = ask;
    const value = this.#world.nextToken();
    const started = { op: 'put', key, level, zone, value, foreignStamp: true } as const;
    const draft = this.#begin(started);
    const version: Version = {
      wallMs: this.process.clock.wallMs() - Math.floor(agoMs),
      logical: this.stream.below(3),
      writerHi: this.stream.next(),
      writerLo: this.stream.next(),
    };
    await this.#perform(draft, async () => {
      await this.#connected().put(key, value, { ...optionsOf(ask), version });
      return this.#written(draft, formatVersion(version));
    });
  }

  async delete(key: string, ask: Ask): Promise<string | undefined> {
    const draft = this.#beginDelete(key, ask);
    await this.#perform(draft, async () => {
      const written = await this.#connected().delete(key, optionsOf(ask));
      return this.#written(draft, formatVersion(written.version), written.shadowedBy);
    });
    return draft.ended?.version;
  }

  /** Keys from `gte` up to `lt`, in pages of `pageSize`. */
  async scan(gte: string, lt: string, reverse: boolean, pageSize: number, ask: Ask): Promise<void> {
    const { level, zone = '' } = ask;
    const draft = this.#begin({ op: 'scan', key: '', level, zone, range: { gte, lt } });
    await this.#perform(draft, async () => {
      const found = [];
      const options = { gte, lt, reverse, pageSize, ...optionsOf(ask) };
      for await (const entry of this.#connected().scan(options)) {
        const version = formatVersion(entry.version);
        found.push({ key: entry.keyText, value: tokenOf(entry.value), version });
      }
      const keys = found.map(({ key }) => key);
      const ordered = reverse ? keys.toReversed() : keys;
      if (ordered.some((key, i) => i > 0 && key <= (ordered[i - 1] as string))) {
        this.#world.problem(`${this.name} scanned keys out of order: ${keys.join(' ')}`);
      }
      return { status: 'ok', found };
    });
  }

  /** Gets, puts and deletes of different keys in one call; each is an operation of the history. */
  async batch(
    items: readonly { readonly op: 'get' | 'put' | 'delete'; readonly key: string }[],
    ask: Ask,
  ): Promise<void> {
    const drafts = items.map(({ op, key }) => {
      if (op === 'put') return this.#beginPut(key, ask);
      if (op === 'delete') return this.#beginDelete(key, ask);
      return this.#begin({ op, key, level: ask.level, zone: ask.zone ?? '' });
    });
    const operations = drafts.map<BatchOperation<string>>(({ started }) =>
      started.op === 'put'
        ? { type: 'put', key: started.key, value: started.value as string }
        : { type: started.op as 'get' | 'delete', key: started.key },
    );
    let results;
    try {
      results = await this.#connected().batch(operations, optionsOf(ask));
    } catch (error) {
      for (const draft of drafts) this.#end(draft, this.#failure(draft, error));
      return;
    }
    for (const [i, result] of results.entries()) {
      const draft = drafts[i] as Draft;
      if (!result.ok) this.#end(draft, this.#failure(draft, result.error));
      else if (result.type === 'get') {
        const { entry } = result;
        this.#end(
          draft,
          entry === undefined
            ? { status: 'ok', version: draft.answered ?? '' }
            : { status: 'ok', version: formatVersion(entry.version), value: tokenOf(entry.value) },
        );
      } else {
        this.#end(draft, this.#written(draft, formatVersion(result.written.version)));
      }
    }
  }

  /** A write through the unary service, stamped by the node and not protected from its own retries: it is tried once. */
  async putUnstamped(key: string, tombstone: boolean, ask: Ask): Promise<void> {
    const { level, zone = '' } = ask;
    const op = tombstone ? 'delete' : 'put';
    const value = tombstone ? undefined : this.#world.nextToken();
    const started = { op, key, level, zone, foreignStamp: true } as const;
    const draft = this.#begin({ ...started, ...(value === undefined ? {} : { value }) });
    const message: UnstampedPut = {
      kind: 'unstamped-put',
      key: Buffer.from(key),
      value: value === undefined ? undefined : Buffer.from(value),
      level: ask.level,
      zone: ask.zone ?? '',
      onStamp: (version) => draft.stamps.add(version),
    };
    draft.attempts = 1;
    const channel = this.#unaryChannel();
    await this.#perform(
      draft,
      () =>
        new Promise<Ended>((resolve) => {
          channel.call(message, 100, ask.timeoutMs ?? 3_000, (reply, none) => {
            const answer = reply as UnstampedAnswer | undefined;
            if (none !== undefined) {
              resolve({
                status: none.kind === 'not-sent' ? 'fail' : 'unknown',
                code: 'UNAVAILABLE',
              });
            } else if (answer?.code !== undefined) {
              const status = answer.outcome === 'none' ? 'fail' : 'unknown';
              resolve({ status, code: answer.code });
            } else {
              resolve(this.#written(draft, [...draft.stamps][0] as string));
            }
          });
        }),
    );
  }

  crash(): void {
    this.process.say('is killed');
    this.process.kill(this.stream.chance(0.5));
  }

  #unaryChannel(): Channel {
    if (this.#unary.length === 0) {
      const { network, shape } = this.#world;
      this.#unary = shape.members.map((member) =>
        network.open(this.process, this.#world.hostOf(member.address) as number, 'unary'),
      );
    }
    return this.stream.pick(this.#unary);
  }

  #connected(): Kv<string> {
    if (this.#kv === undefined) throw new Error(`${this.name} is not connected`);
    return this.#kv;
  }

  #beginPut(key: string, ask: Ask): Draft {
    const value = this.#world.nextToken();
    const { level, zone = '', ttlMs } = ask;
    const started = { op: 'put', key, level, zone, value } as const;
    return this.#begin(ttlMs === undefined ? started : { ...started, ttlMs });
  }

  #beginDelete(key: string, ask: Ask): Draft {
    return this.#begin({ op: 'delete', key, level: ask.level, zone: ask.zone ?? '' });
  }

  #begin(started: Parameters<Recorder['begin']>[1]): Draft {
    const draft = this.#recorder.begin(this.name, started);
    if (started.op !== 'scan') this.#witness.begins(draft);
    return draft;
  }

  async #perform(draft: Draft, act: () => Promise<Ended>): Promise<void> {
    let ended: Ended;
    try {
      ended = await act();
    } catch (error) {
      ended = this.#failure(draft, error);
    }
    this.#end(draft, ended);
  }

  #end(draft: Draft, ended: Ended): void {
    this.#witness.ends(draft);
    this.#recorder.end(draft, ended);
    const { trace } = this.#world.kernel;
    if (trace.textual) {
      const { op, key, level } = draft.started;
      const outcome = [ended.status, ended.code, ended.version, ended.value].filter(Boolean);
      this.process.say(`#${draft.index} ${op} ${key} ${level}: ${outcome.join(' ')}`);
    }
  }

  #written(draft: Draft, version: string, shadowedBy?: Version): Ended {
    const { key, zone, level } = draft.started;
    const local = level === 'LOCAL_ONE' || level === 'LOCAL_QUORUM';
    const holders = this.#world.holders(key, version, local ? zone : undefined);
    const isShadowed = shadowedBy !== undefined;
    return { status: 'ok', version, holders, ...(isShadowed ? { isShadowed } : {}) };
  }

  /** Whatever is thrown that is no KvError is a defect of the SDK. */
  #failure(draft: Draft, error: unknown): Ended {
    if (!(error instanceof KvError)) {
      this.#world.problem(`${this.name} was thrown ${String(error)}`);
      return { status: 'unknown' };
    }
    if (error.code === 'INTERNAL' || error.code === 'INVALID_ARGUMENT') {
      this.#world.problem(`${this.name} was refused ${draft.started.op}: ${error.message}`);
    }
    const happened = error.outcome === 'none' || draft.started.op === 'get' ? 'fail' : 'unknown';
    return { status: happened, code: error.code };
  }
}

function foundBy(key: string, entry: Entry<string> | undefined): readonly FoundEntry[] {
  if (entry === undefined) return [];
  return [{ key, value: tokenOf(entry.value), version: formatVersion(entry.version) }];
}

function optionsOf(ask: Ask): Omit<Ask, 'level'> & { readonly consistency: Consistency } {
  const { level, ...rest } = ask;
  return { ...rest, consistency: level };
}

function padded(token: string, bytes: number): string {
  return token.length >= bytes ? token : token.padEnd(bytes, PADDING);
}
