import { connectThrough } from '../../src/client/connect-through.js';
import { textCodec } from '../../src/client/codec.js';
import type { BatchOperation } from '../../src/client/kv.js';
import { KvError } from '../../src/core/errors.js';
import { formatVersion, type Version } from '../../src/core/version.js';
import type { UnstampedAnswer, UnstampedPut } from './link-port.js';
import { createSimLinker } from './link-port.js';
import type { Channel } from './channel.js';
import { SimProcess } from './process.js';
import { optionsOf, RecordedClient, tokenOf, type Ask } from './recorded-client.js';
import type { Draft, Ended } from './recorder.js';
import type { Stream } from './seed.js';
import type { World } from './world.js';

/** One process that uses the SDK, or the unary service, and writes down what it did and saw. */
export class SimClient extends RecordedClient {
  readonly process: SimProcess;
  /** Resolves when it has ended what it was given to do. Never, when its process dies first. */
  done: Promise<void> = Promise.resolve();
  readonly #world: World;
  #unary: Channel[] = [];

  constructor(world: World, name: string, host: number, stream: Stream) {
    super(world, name, stream);
    this.#world = world;
    const clock = world.clockOf(host);
    this.process = new SimProcess(world.kernel, name, host, clock, stream);
  }

  /** Resolves when it is connected, however often it has to try. */
  async connect(): Promise<void> {
    const { network, shape, defect } = this.#world;
    const { process } = this;
    const linker = createSimLinker(network, process, (at) => this.#world.hostOf(at), this.witness);
    const ports = {
      clock: process.clock,
      timers: process.timers,
      random: process.random,
      linker: defect?.linker?.(linker, process) ?? linker,
    };
    const endpoints = this.stream.shuffled(shape.members).map((member) => member.address);
    while (this.kv === undefined) {
      try {
        this.kv = await connectThrough({ endpoints, codec: textCodec }, ports);
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

  /** A write whose stamp the caller gives: `agoMs` old, so that it comes after newer ones. */
  async putLate(key: string, agoMs: number, ask: Ask): Promise<void> {
    const { level, zone = '' } = ask;
    const value = this.#world.nextToken();
    const started = { op: 'put', key, level, zone, value, foreignStamp: true } as const;
    const draft = this.begin(started);
    const version: Version = {
      wallMs: this.process.clock.wallMs() - Math.floor(agoMs),
      logical: this.stream.below(3),
      writerHi: this.stream.next(),
      writerLo: this.stream.next(),
    };
    await this.perform(draft, async () => {
      await this.connected().put(key, value, { ...optionsOf(ask), version });
      return this.written(draft, formatVersion(version));
    });
  }

  /** Keys from `gte` up to `lt`, in pages of `pageSize`. */
  async scan(gte: string, lt: string, reverse: boolean, pageSize: number, ask: Ask): Promise<void> {
    const { level, zone = '' } = ask;
    const draft = this.begin({ op: 'scan', key: '', level, zone, range: { gte, lt } });
    await this.perform(draft, async () => {
      const found = [];
      const options = { gte, lt, reverse, pageSize, ...optionsOf(ask) };
      for await (const entry of this.connected().scan(options)) {
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
      if (op === 'put') return this.beginPut(key, ask);
      if (op === 'delete') return this.beginDelete(key, ask);
      return this.begin({ op, key, level: ask.level, zone: ask.zone ?? '' });
    });
    const operations = drafts.map<BatchOperation<string>>(({ started }) =>
      started.op === 'put'
        ? { type: 'put', key: started.key, value: started.value as string }
        : { type: started.op as 'get' | 'delete', key: started.key },
    );
    let results;
    try {
      results = await this.connected().batch(operations, optionsOf(ask));
    } catch (error) {
      for (const draft of drafts) this.end(draft, this.failure(draft, error));
      return;
    }
    for (const [i, result] of results.entries()) {
      const draft = drafts[i] as Draft;
      if (!result.ok) this.end(draft, this.failure(draft, result.error));
      else if (result.type === 'get') {
        const { entry } = result;
        this.end(
          draft,
          entry === undefined
            ? { status: 'ok', version: draft.answered ?? '' }
            : { status: 'ok', version: formatVersion(entry.version), value: tokenOf(entry.value) },
        );
      } else {
        this.end(draft, this.written(draft, formatVersion(result.written.version)));
      }
    }
  }

  /** A write through the unary service, stamped by the node and not protected from its own retries: it is tried once. */
  async putUnstamped(key: string, tombstone: boolean, ask: Ask): Promise<void> {
    const { level, zone = '' } = ask;
    const op = tombstone ? 'delete' : 'put';
    const value = tombstone ? undefined : this.#world.nextToken();
    const started = { op, key, level, zone, foreignStamp: true } as const;
    const draft = this.begin({ ...started, ...(value === undefined ? {} : { value }) });
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
    await this.perform(
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
              resolve(this.written(draft, [...draft.stamps][0] as string));
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

  protected override end(draft: Draft, ended: Ended): void {
    super.end(draft, ended);
    const { trace } = this.#world.kernel;
    if (trace.textual) {
      const { op, key, level } = draft.started;
      const outcome = [ended.status, ended.code, ended.version, ended.value].filter(Boolean);
      this.process.say(`#${draft.index} ${op} ${key} ${level}: ${outcome.join(' ')}`);
    }
  }
}
