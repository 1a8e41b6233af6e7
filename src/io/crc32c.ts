/** Castagnoli's polynomial, bits reversed, as iSCSI (RFC 3720) and LevelDB use it. */
const POLYNOMIAL = 0x82f63b78;

/** Eight tables: the remainder of a byte followed by 0 to 7 zero bytes, so that eight bytes are taken at a time. */
const TABLES = makeTables();

function makeTables(): readonly Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let rest = byte;
    for (let bit = 0; bit < 8; bit++) rest = (rest >>> 1) ^ (rest & 1 ? POLYNOMIAL : 0);
    return rest;
  });
  const tables = [first];
  for (let zeros = 1; zeros < 8; zeros++) {
    const before = tables[zeros - 1] as Uint32Array;
    tables.push(before.map((rest) => (rest >>> 8) ^ (first[rest & 0xff] as number)));
  }
  return tables;
}

/** The CRC32C of `bytes` from `start` up to `end`, unsigned. */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  const at = (i: number): number => bytes[i] as number;
  let crc = 0xffffffff;
  let i = start;
  for (; i + 8 <= end; i += 8) {
    const low = crc ^ (at(i) | (at(i + 1) << 8) | (at(i + 2) << 16) | (at(i + 3) << 24));
    crc =
      (t7[low & 0xff] as number) ^
      (t6[(low >>> 8) & 0xff] as number) ^
      (t5[(low >>> 16) & 0xff] as number) ^
      (t4[low >>> 24] as number) ^
      (t3[at(i + 4)] as number) ^
      (t2[at(i + 5)] as number) ^
      (t1[at(i + 6)] as number) ^
      (t0[at(i + 7)] as number);
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ (t0[(crc ^ at(i)) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}
