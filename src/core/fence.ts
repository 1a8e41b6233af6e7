/** No fence, on the wire and in memory: it is below every version. Other fences are 16 bytes, as versions are. */
export const NO_FENCE = new Uint8Array(0);
