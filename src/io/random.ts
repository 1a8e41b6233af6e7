import { randomFillSync } from 'node:crypto';

/** Chance. The simulation draws it from the seed. */
export interface Random {
  /** Uniform in [0, 1). For jitter and sampling. */
  fraction(): number;
  /** `length` unpredictable bytes. For writer ids, incarnations and identities. */
  bytes(length: number): Uint8Array;
}

export const systemRandom: Random = {
  fraction: () => Math.random(),
  bytes: (length) => randomFillSync(new Uint8Array(length)),
};
