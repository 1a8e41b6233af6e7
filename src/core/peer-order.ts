/** What decides which replica of a key is asked first. */
export interface Candidate {
  /** The node itself: no network lies between. */
  readonly local: boolean;
  readonly typicalMs: number;
  /** It may be down: it is asked after all others. */
  readonly suspect: boolean;
}

/** Indexes of `candidates` in the order in which a read asks them: the node itself, then the fastest, suspects last. */
export function orderPeers(candidates: readonly Candidate[]): number[] {
  return candidates
    .map(({ local, typicalMs, suspect }, index) => ({
      index,
      rank: local ? -1 : suspect ? Number.MAX_VALUE : typicalMs,
    }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map(({ index }) => index);
}
