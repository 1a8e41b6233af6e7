import xxhash from 'xxhash-wasm';
import { readU32, writeU32 } from './version.js';

// The only await of core, and it is on bytes that ship inside the package: the hash is WebAssembly.
const xxh = await xxhash();

/**
 * xxHash32 of `bytes`, an unsigned 32-bit number. Keys are placed by it; the answer for given bytes
 * never changes, or every folder on disk would be unreadable.
 */
export function hash32(bytes: Uint8Array, seed = 0): number {
  return xxh.h32Raw(bytes, seed) >>> 0;
}

// The library hands a BigInt over. One that never leaves these lines costs less than a second 32-bit hash would.
const word = new DataView(new ArrayBuffer(8));

/** Writes the xxHash64 of `bytes`, 8 bytes big-endian, at `at` of `out`. As fixed for all time as {@link hash32}. */
export function writeHash64(bytes: Uint8Array, seed: number, out: Uint8Array, at: number): void {
  word.setBigUint64(0, xxh.h64Raw(bytes, BigInt(seed)));
  writeU32(out, at, word.getUint32(0));
  writeU32(out, at + 4, word.getUint32(4));
}

/** True when the 8 bytes at `at` of `expected` are what {@link writeHash64} writes. */
export function matchesHash64(
  bytes: Uint8Array,
  seed: number,
  expected: Uint8Array,
  at: number,
): boolean {
  word.setBigUint64(0, xxh.h64Raw(bytes, BigInt(seed)));
  return (
    word.getUint32(0) === readU32(expected, at) && word.getUint32(4) === readU32(expected, at + 4)
  );
}
