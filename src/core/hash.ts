import xxhash from 'xxhash-wasm';

// The only await of core, and it is on bytes that ship inside the package: the hash is WebAssembly.
const xxh = await xxhash();

/**
 * xxHash32 of `bytes`, an unsigned 32-bit number. Placement, hash trees and checksums are made of it; the answer for given
 * bytes never changes, or every folder on disk would be unreadable.
 */
export function hash32(bytes: Uint8Array, seed = 0): number {
  return xxh.h32Raw(bytes, seed) >>> 0;
}
