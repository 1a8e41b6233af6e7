import { KvError } from '../core/errors.js';
import type { Member } from '../core/placement.js';
import { membersFromWire } from './codec.js';
import { PROTOCOL_VERSION, type v1 } from './messages.js';

/** What every node of a cluster must have been started with alike. */
export interface ClusterFacts {
  readonly clusterName: string;
  /** Derived from name, member list and replication factor. */
  readonly clusterId: string;
  readonly members: readonly Member[];
  readonly replicationFactor: number;
}

/** What a node says when it opens a channel to another. */
export function helloOfNode(nodeId: string, facts: ClusterFacts): v1.Hello.$Properties {
  return {
    protocol: PROTOCOL_VERSION,
    nodeId,
    clusterId: facts.clusterId,
    clusterName: facts.clusterName,
    members: facts.members.map(({ id, address, zone }) => ({ id, address, zone })),
    replicationFactor: facts.replicationFactor,
  };
}

/** The refusal that a greeting deserves; undefined when it is welcome. */
export function checkHello(
  hello: v1.Hello,
  nodeId: string,
  facts: ClusterFacts,
): KvError | undefined {
  const who = hello.nodeId === '' ? 'the client' : `node ${hello.nodeId}`;
  if (hello.protocol !== PROTOCOL_VERSION) {
    return new KvError(
      'INCOMPATIBLE',
      `node ${nodeId} speaks protocol ${PROTOCOL_VERSION}, ${who} speaks ${hello.protocol}`,
      { node: nodeId },
    );
  }
  if (hello.clusterId !== '' && hello.clusterId !== facts.clusterId) {
    const theirs = hello.clusterName === '' ? hello.clusterId : hello.clusterName;
    return new KvError(
      'WRONG_CLUSTER',
      `node ${nodeId} belongs to cluster "${facts.clusterName}", ${who} to "${theirs}": ${differenceOf(hello, facts)}`,
      { node: nodeId },
    );
  }
  return undefined;
}

/** The same for the answer to a greeting. */
export function checkWelcome(
  welcome: v1.Welcome.$Properties,
  endpoint: string,
): KvError | undefined {
  if (welcome.protocol === PROTOCOL_VERSION) return undefined;
  return new KvError(
    'INCOMPATIBLE',
    `${endpoint} speaks protocol ${welcome.protocol ?? 0}, this side speaks ${PROTOCOL_VERSION}`,
    { node: endpoint },
  );
}

/** What makes two clusters differ, for the person who has to find the odd configuration. */
function differenceOf(hello: v1.Hello, facts: ClusterFacts): string {
  const differences: string[] = [];
  if (hello.clusterName !== '' && hello.clusterName !== facts.clusterName) {
    differences.push(`the names differ ("${facts.clusterName}" here)`);
  }
  if (hello.nodeId !== '') {
    const here = listText(facts.members);
    const there = listText(membersFromWire(hello.members));
    if (here !== there) differences.push(`the members differ (${here} here, ${there} there)`);
    if (hello.replicationFactor !== facts.replicationFactor) {
      differences.push(
        `the replication factors differ (${facts.replicationFactor} here, ${hello.replicationFactor} there)`,
      );
    }
  }
  return differences.length === 0
    ? `the cluster ids differ (${facts.clusterId} here, ${hello.clusterId} there)`
    : differences.join('; ');
}

function listText(members: readonly Member[]): string {
  return members
    .map(({ id, zone }) => `${id}/${zone}`)
    .sort()
    .join(', ');
}
