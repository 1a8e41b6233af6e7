import { compareBytesAt } from './version.js';

/**
 * Which life of its data folder a node is in: 6 bytes of wall ms and 2 of chance, so that a later one is greater, byte by
 * byte. A node takes a new one when it has forgotten something that it may have acknowledged.
 */
export const INCARNATION_BYTES = 8;
const WALL_BYTES = 6;

/** How many bytes of chance {@link incarnationAfter} takes. */
export const INCARNATION_CHANCE_BYTES = INCARNATION_BYTES - WALL_BYTES;

/** Negative when `a` is an earlier life than `b`, positive when it is a later one. */
export function compareIncarnations(a: Uint8Array, b: Uint8Array): number {
  return compareBytesAt(a, 0, b, 0, INCARNATION_BYTES);
}

/** A life that begins at `wallMs`, or as soon after as puts it above `earlier`, wherever the clock has gone. */
export function incarnationAfter(
  earlier: Uint8Array | undefined,
  wallMs: number,
  chance: Uint8Array,
): Uint8Array {
  const beganMs = earlier === undefined ? 0 : Buffer.from(earlier).readUIntBE(0, WALL_BYTES);
  const incarnation = Buffer.alloc(INCARNATION_BYTES);
  incarnation.writeUIntBE(Math.max(wallMs, beganMs + 1), 0, WALL_BYTES);
  incarnation.set(chance, WALL_BYTES);
  return incarnation;
}
