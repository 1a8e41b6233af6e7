import type { NodeCoordinator } from '../../src/coordinator/coordinator.js';
import type { Node } from '../../src/node.js';
import type { Linker } from '../../src/io/link.js';
import type { Peer } from '../../src/io/peer.js';
import type { StoreOpener } from '../../src/io/store.js';
import type { SimProcess } from './process.js';

/**
 * A part of the world that is wrong on purpose, to prove that the checker sees it. It wraps ports and parts where the world
 * puts them together; the code under test knows nothing of it.
 */
export interface Defect {
  readonly name: string;
  /** The disk of `process`, as the node sees it. */
  store?(opener: StoreOpener, process: SimProcess): StoreOpener;
  /** Another node's replica, as a coordinator on `process` sees it. */
  peer?(peer: Peer, process: SimProcess): Peer;
  /** A node's replica, as it serves others. */
  replica?(replica: Peer, process: SimProcess): Peer;
  /** A node that has just been put together: whatever of it can be reached may be changed. */
  node?(node: Node, process: SimProcess): void;
  /** A node's coordinator, as it serves clients. */
  coordinator?(coordinator: NodeCoordinator): NodeCoordinator;
  /** The network, as an SDK sees it. */
  linker?(linker: Linker, process: SimProcess): Linker;
}
