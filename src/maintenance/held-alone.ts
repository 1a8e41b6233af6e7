import { isAtOrBelow } from '../core/fence.js';

/** A record that the own replica holds and a source does not. */
export interface AloneRecord {
  readonly key: Uint8Array;
  readonly header: Uint8Array;
  /** Ids of the sources. */
  readonly without: Set<string>;
}

/** Of a folder that was put back or damaged: few, unless much was deleted since. */
export class HeldAlone {
  readonly #records = new Map<number, Map<string, AloneRecord>>();

  add(source: string, partition: number, key: Uint8Array, header: Uint8Array): void {
    let records = this.#records.get(partition);
    if (records === undefined) this.#records.set(partition, (records = new Map()));
    const name = Buffer.from(key).toString('latin1');
    let record = records.get(name);
    if (record === undefined) {
      record = { key: Uint8Array.from(key), header: Uint8Array.from(header), without: new Set() };
      records.set(name, record);
    }
    record.without.add(source);
  }

  /** Those at or below the fence that none of the partition's `sources` sources holds. */
  below(partition: number, fence: Uint8Array, sources: number): readonly AloneRecord[] {
    return [...(this.#records.get(partition)?.values() ?? [])].filter(
      ({ header, without }) => without.size === sources && isAtOrBelow(header, fence),
    );
  }
}
