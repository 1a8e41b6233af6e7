import { compareIncarnations, INCARNATION_BYTES } from '../core/incarnation.js';
import type { Lives } from '../io/peer.js';
import type { Progress } from '../io/peer-asks.js';

const NO_ONE: Lives['known'] = Object.freeze([]);

/**
 * Which life each node was last known to be in, and how far its group commits had come. Whoever says that it is back with
 * less has forgotten. It grows only; what is on disk of it is what {@link encode} gave last.
 */
export class PeerMemory {
  /** Called when a node is found to be in a later life than was known, once that is known here. */
  onLaterLife: (nodeId: string) => void = () => {};
  readonly #nodes = new Map<string, Progress>();
  readonly #changedAt = new Map<string, number>();
  #version = 0;
  #known: Lives['known'] | undefined = NO_ONE;
  #dirty = false;

  /** `self` is not among those that are told of, though its own lives count for {@link changedAt}. */
  constructor(
    private readonly self: string,
    encoded?: Uint8Array,
  ) {
    if (encoded === undefined) return;
    for (const [nodeId, incarnation, commitCounter] of decode(encoded)) {
      this.#nodes.set(nodeId, { incarnation, commitCounter });
    }
    this.#known = undefined;
  }

  /** Grows with every node that is found to be in a later life than was known. */
  get version(): number {
    return this.#version;
  }

  /** The {@link version} at which `nodeId` was last found in a later life; 0: not since the start. */
  changedAt(nodeId: string): number {
    return this.#changedAt.get(nodeId) ?? 0;
  }

  /** What is remembered of the node; undefined: nothing was ever heard of it. */
  of(nodeId: string): Progress | undefined {
    return this.#nodes.get(nodeId);
  }

  /** The lives of others: one object until something of it changes. */
  get known(): Lives['known'] {
    this.#known ??= [...this.#nodes]
      .filter(([nodeId]) => nodeId !== this.self)
      .map(([nodeId, { incarnation }]) => ({ nodeId, incarnation }));
    return this.#known;
  }

  /** Whether there is more than was encoded last. */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** The node is in this life, or was, and had come this far in it. */
  learn(nodeId: string, incarnation: Uint8Array, commitCounter: number): void {
    const before = this.#nodes.get(nodeId);
    const order = before === undefined ? 1 : compareIncarnations(incarnation, before.incarnation);
    if (order < 0 || (order === 0 && commitCounter <= (before?.commitCounter ?? 0))) return;
    this.#dirty = true;
    if (order === 0 && before !== undefined) {
      this.#nodes.set(nodeId, { incarnation: before.incarnation, commitCounter });
      return;
    }
    this.#nodes.set(nodeId, { incarnation: Uint8Array.from(incarnation), commitCounter });
    this.#known = undefined;
    // A node first heard of has said nothing yet that anyone could have counted here.
    if (before === undefined) return;
    this.#changedAt.set(nodeId, ++this.#version);
    this.onLaterLife(nodeId);
  }

  /** What somebody who answers knows of others. */
  learnAll(known: Lives['known']): void {
    for (const { nodeId, incarnation } of known) {
      if (nodeId !== this.self) this.learn(nodeId, incarnation, 0);
    }
  }

  /** The whole, to be put on disk: `dirty` is false from then on. */
  encode(): Uint8Array {
    this.#dirty = false;
    const lines = [...this.#nodes]
      .filter(([nodeId]) => nodeId !== this.self)
      .map(([nodeId, { incarnation, commitCounter }]) => [
        nodeId,
        Buffer.from(incarnation).toString('hex'),
        commitCounter,
      ]);
    return Buffer.from(JSON.stringify(lines), 'utf8');
  }

  /** What was encoded did not reach the disk. */
  lost(): void {
    this.#dirty = true;
  }
}

/** Whether whoever is at `own` has forgotten something, if `remembered` is what another node remembers of it. */
export function isAhead(remembered: Progress, own: Progress): boolean {
  const order = compareIncarnations(remembered.incarnation, own.incarnation);
  return order > 0 || (order === 0 && remembered.commitCounter > own.commitCounter);
}

function decode(encoded: Uint8Array): [string, Uint8Array, number][] {
  const lines = JSON.parse(Buffer.from(encoded).toString('utf8')) as [string, string, number][];
  return lines
    .map(([nodeId, hex, counter]): [string, Uint8Array, number] => [
      nodeId,
      Uint8Array.from(Buffer.from(hex, 'hex')),
      counter,
    ])
    .filter(([, incarnation]) => incarnation.length === INCARNATION_BYTES);
}
