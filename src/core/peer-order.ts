/** What decides which replica of a key is asked first. */
export interface Candidate {
  /** The node itself: no network lies between. */
  readonly local: boolean;
  readonly typicalMs: number;
}

/** Indexes of `candidates` in the order in which a read asks them: the node itself, then the fastest, then as given. */
export function orderPeers(candidates: readonly Candidate[]): number[] {
  return candidates
    .map(({ local, typicalMs }, index) => ({ index, rank: local ? -1 : typicalMs }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map(({ index }) => index);
}
