/** What gossip says of one member. The one with the higher generation is newer; of the same, the worse status is. */
export interface Rumour {
  readonly nodeId: string;
  /** `host:port`; a member may come back at another one. */
  readonly address: string;
  /** Grows with every start of the node, and when it refutes that it is suspected. */
  readonly generation: number;
  readonly status: MemberStatus;
}

/** `suspect`: it did not answer and may yet refute it. `dead`: it did not refute it in time. Neither changes placement. */
export type MemberStatus = 'alive' | 'suspect' | 'dead';
