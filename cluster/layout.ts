import { join } from 'node:path';
import { Problem } from './problem.js';

/** What is fixed when a cluster is first started: data is placed by it. */
export interface Layout {
  readonly nodeCount: number;
  /** Node n1 listens here, n2 one above, and so on. */
  readonly basePort: number;
}

export interface NodePlace {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly endpoint: string;
  readonly zone: string;
}

export const DEFAULT_LAYOUT: Layout = { nodeCount: 3, basePort: 7101 };
export const MAX_NODES = 9;
const CLUSTER_NAME = 'local';
const HOST = '127.0.0.1';

/** n1, n2, ... in zones z1, z2, ... on consecutive ports of this machine. */
export function placesOf({ nodeCount, basePort }: Layout): readonly NodePlace[] {
  return Array.from({ length: nodeCount }, (_, index) => {
    const port = basePort + index;
    return {
      id: `n${index + 1}`,
      host: HOST,
      port,
      endpoint: `${HOST}:${port}`,
      zone: `z${index + 1}`,
    };
  });
}

/** The places that the ids name, in their order and once each; all places for no ids. An unknown id is a usage error. */
export function selectPlaces(layout: Layout, ids: readonly string[]): readonly NodePlace[] {
  const places = placesOf(layout);
  const unknown = ids.find((id) => !places.some((place) => place.id === id));
  if (unknown !== undefined) {
    const known = places.map(({ id }) => id).join(', ');
    throw new Problem(`There is no node "${unknown}": this cluster has ${known}.`, 2);
  }
  return ids.length === 0 ? places : places.filter(({ id }) => ids.includes(id));
}

/** The command line of one node, after the Node.js executable. */
export function serveArguments(
  kvctlPath: string,
  layout: Layout,
  place: NodePlace,
  stateFolder: string,
): readonly string[] {
  const members = placesOf(layout).map(({ id, endpoint, zone }) => `${id}=${endpoint}/${zone}`);
  return [
    kvctlPath,
    'serve',
    `--cluster=${CLUSTER_NAME}`,
    `--node=${place.id}`,
    `--listen=${place.endpoint}`,
    `--members=${members.join(',')}`,
    `--data=${dataFolder(stateFolder, place.id)}`,
    `--replication=${Math.min(3, layout.nodeCount)}`,
    '--unsafe-faults',
    '--log-format=json',
  ];
}

export function dataFolder(stateFolder: string, nodeId: string): string {
  return join(stateFolder, nodeId);
}

export function logFile(stateFolder: string, nodeId: string): string {
  return join(stateFolder, `${nodeId}.log`);
}
