import type { Body } from '../../src/wire/frame-writer.js';

/** What a body writes into a frame. */
export function written(body: Body): Uint8Array {
  const bytes = new Uint8Array(body.length);
  body.writeTo(bytes, 0);
  return bytes;
}
