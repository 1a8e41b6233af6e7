import type { Expectation } from './linear-decision.js';
import { encodeVersion, readVersion, VERSION_BYTES } from './version.js';

const VERSION = 1;
const VALUE = 2;
const ABSENT = 3;

/** As it travels: one byte for its kind, then the version or the value. Nothing is expected: no bytes at all. */
export function encodeExpectation(expect: Expectation): Uint8Array {
  switch (expect.kind) {
    case 'version':
      return Buffer.concat([Uint8Array.of(VERSION), encodeVersion(expect.version)]);
    case 'value':
      return Buffer.concat([Uint8Array.of(VALUE), expect.value]);
    case 'absent':
      return Uint8Array.of(ABSENT);
  }
}

/** Undefined when the bytes are no expectation. A value is a view of them. */
export function decodeExpectation(bytes: Uint8Array): Expectation | undefined {
  const kind = bytes[0];
  if (kind === VERSION && bytes.length === 1 + VERSION_BYTES) {
    return { kind: 'version', version: readVersion(bytes, 1) };
  }
  if (kind === VALUE) return { kind: 'value', value: bytes.subarray(1) };
  if (kind === ABSENT && bytes.length === 1) return { kind: 'absent' };
  return undefined;
}
