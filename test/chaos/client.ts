import { setTimeout as sleep } from 'node:timers/promises';
import { connectThrough } from '../../src/client/connect-through.js';
import { formatVersion } from '../../src/core/version.js';
import { systemClock } from '../../src/io/clock.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers } from '../../src/io/timers.js';
import { createGrpcLinker } from '../../src/wire/node-link.js';
import { optionsOf, RecordedClient, tokenOf, type Ask } from '../sim/recorded-client.js';
import { witnessed } from './witnessed-link.js';

/** What a client last saw under a key. */
export interface Seen {
  /** Undefined: nothing. */
  readonly value: string | undefined;
  /** The version of its last change, where the client was told. */
  readonly changed: string | undefined;
}

/** One connection of the SDK to real nodes, one operation at a time, and what came of each written down. */
export class ChaosClient extends RecordedClient {
  readonly seen = new Map<string, Seen>();

  async connect(endpoints: readonly string[]): Promise<void> {
    const system = { clock: systemClock, timers: systemTimers, random: systemRandom };
    const linker = witnessed(createGrpcLinker(system), this.witness);
    this.kv = await connectThrough({ endpoints }, { ...system, linker });
  }

  think(meanMs: number): Promise<void> {
    return sleep(this.stream.exponential(meanMs));
  }

  /** A read that remembers what it saw. False: it failed. */
  async look(key: string, ask: Ask): Promise<boolean> {
    const draft = this.begin({ op: 'get', key, level: ask.level, zone: '' });
    await this.perform(draft, async () => {
      const entry = await this.connected().getEntry(key, optionsOf(ask));
      const value = entry === undefined ? undefined : tokenOf(entry.value);
      const changed = entry === undefined ? undefined : formatVersion(entry.version);
      this.seen.set(key, { value, changed });
      // The version of the history is that of the record: of a value that was accepted anew it is later than its change.
      return { status: 'ok', ...(value === undefined ? {} : { value }) };
    });
    return draft.ended?.status === 'ok';
  }

  async close(): Promise<void> {
    await this.kv?.close();
  }
}
