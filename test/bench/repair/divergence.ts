import { encodeRecord, HEADER_BYTES, versionOf } from '../../../src/core/record.js';
import { openLevelStore } from '../../../src/io/level-store.js';
import { recordKey } from '../../../src/replica/layout.js';
import type { Contents } from './frontier.js';

/** Batches of the edit. */
const KEYS_AT_ONCE = 1_000;

export interface Divergence {
  /** What every node must hold in the end. */
  readonly merged: Contents;
  /** Bytes of the records that must travel. */
  readonly differingBytes: number;
}

/**
 * Edits the folder of a node that does not run: of `count` keys spread over all, a third goes, a third becomes older and a
 * third newer than on the other nodes. No hint knows of it.
 */
export async function diverge(
  folder: string,
  contents: Contents,
  count: number,
  valueBytes: number,
): Promise<Divergence> {
  const merged = [...contents];
  let differingBytes = 0;
  const store = await openLevelStore(folder);
  try {
    const step = contents.length / count;
    for (let from = 0; from < count; from += KEYS_AT_ONCE) {
      const batch = store.batch();
      for (let i = from; i < Math.min(count, from + KEYS_AT_ONCE); i++) {
        const at = Math.floor(i * step);
        const [key, header] = contents[at] as Contents[number];
        const version = versionOf(header);
        const edit = (shiftMs: number) =>
          encodeRecord(key, {
            version: { ...version, wallMs: version.wallMs + shiftMs },
            tombstone: false,
            value: Buffer.alloc(valueBytes, i),
          });
        if (i % 3 === 0) {
          batch.del(recordKey(key));
        } else {
          const record = edit(i % 3 === 1 ? -1_000 : 1);
          batch.put(recordKey(key), record);
          if (i % 3 === 2) merged[at] = [key, record.slice(0, HEADER_BYTES)];
        }
        differingBytes += key.length + HEADER_BYTES + valueBytes;
      }
      await batch.commit({ sync: true });
    }
  } finally {
    await store.close();
  }
  return { merged, differingBytes };
}
