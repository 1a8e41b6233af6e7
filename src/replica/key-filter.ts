/**
 * Which keys the node may hold: a Bloom filter (Bloom 1970) over the hashes of their keys, in layers that double (a scalable
 * one, Almeida et al. 2007), so that it never has to be counted beforehand or rebuilt when it fills. A key that was added is
 * always reported; one that was not, is with a probability below 1 %, in up to eight layers of 16 million keys in all.
 *
 * Sixteen bits a key and six probes give 0.1 % in a full layer. A million keys take 4 MiB. Keys that leave the store stay in
 * the filter until the next start; that costs a lookup, never a wrong answer.
 */
export class KeyFilter {
  readonly #layers: Layer[] = [];
  #newest: Layer;

  constructor(firstLayerBits = FIRST_LAYER_BITS) {
    this.#newest = createLayer(firstLayerBits);
    this.#layers.push(this.#newest);
  }

  add(keyHash: number): void {
    if (this.mayHave(keyHash)) return;
    if (this.#newest.keys === this.#newest.capacity) {
      this.#newest = createLayer(this.#newest.words.length * 32 * 2);
      this.#layers.push(this.#newest);
    }
    set(this.#newest, keyHash);
  }

  /** False: no key with this hash was added. */
  mayHave(keyHash: number): boolean {
    for (const layer of this.#layers) {
      if (has(layer, keyHash)) return true;
    }
    return false;
  }

  get sizeBytes(): number {
    return this.#layers.reduce((sum, layer) => sum + layer.words.byteLength, 0);
  }
}

const FIRST_LAYER_BITS = 2 ** 20;
const BITS_PER_KEY = 16;
const PROBES = 6;

interface Layer {
  readonly words: Uint32Array;
  /** The number of bits, a power of two, less one. */
  readonly mask: number;
  readonly capacity: number;
  keys: number;
}

function createLayer(bits: number): Layer {
  return {
    words: new Uint32Array(bits / 32),
    mask: bits - 1,
    capacity: Math.floor(bits / BITS_PER_KEY),
    keys: 0,
  };
}

function has(layer: Layer, keyHash: number): boolean {
  const step = stepOf(keyHash);
  let bit = keyHash;
  for (let probe = 0; probe < PROBES; probe++) {
    const at = bit & layer.mask;
    if (((layer.words[at >>> 5] as number) & (1 << (at & 31))) === 0) return false;
    bit = (bit + step) | 0;
  }
  return true;
}

function set(layer: Layer, keyHash: number): void {
  const step = stepOf(keyHash);
  let bit = keyHash;
  for (let probe = 0; probe < PROBES; probe++) {
    const at = bit & layer.mask;
    layer.words[at >>> 5] = (layer.words[at >>> 5] as number) | (1 << (at & 31));
    bit = (bit + step) | 0;
  }
  layer.keys += 1;
}

/** A second hash from the first (Kirsch and Mitzenmacher 2006), by the finalizer of MurmurHash3; odd, so probes spread. */
function stepOf(keyHash: number): number {
  let mixed = Math.imul(keyHash ^ (keyHash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) | 1;
}
