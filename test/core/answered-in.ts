import type { AnsweredRequest } from '../../src/core/ledger.js';
import { readVersion, type Version } from '../../src/core/version.js';

/** The requests that a ledger lists, in its order. */
export function answeredIn(ledger: Uint8Array): AnsweredRequest[] {
  const answered: AnsweredRequest[] = [];
  const writersAt = ledger.length - 8 * (ledger[17] as number);
  let at = 18;
  const varint = (): number => {
    let number = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = ledger[at++] as number;
      number += (byte % 128) * unit;
      if (byte < 128) return number;
    }
  };
  const signed = (): number => {
    const number = varint();
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  };
  const versionAfter = (wallMs: number): Version => {
    const wall = wallMs + signed();
    const logical = varint();
    const writer = Buffer.from(ledger).subarray(writersAt + 8 * (ledger[at++] as number));
    const [writerHi, writerLo] = [writer.readUInt32BE(0), writer.readUInt32BE(4)];
    return { wallMs: wall, logical, writerHi, writerLo };
  };
  let { wallMs } = readVersion(ledger, 0);
  for (let left = ledger[16] as number; left > 0; left--) {
    const id = versionAfter(wallMs);
    wallMs = id.wallMs;
    const result = ledger[at++] as number;
    answered.push({ id, result, version: versionAfter(wallMs) });
  }
  return answered;
}
