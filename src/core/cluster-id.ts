import { createHash } from 'node:crypto';
import type { Member } from './placement.js';

/**
 * What makes two nodes parts of one cluster: the name, the replication factor and the first member list (ids and zones;
 * addresses may change). 16 hexadecimal characters of its SHA-256. Nodes that were given different lists have different ids
 * and refuse each other, so no cluster can form in which two nodes place a key differently.
 */
export function clusterIdOf(
  name: string,
  members: readonly Member[],
  replicationFactor: number,
): string {
  const list = members.map(({ id, zone }) => `${id}/${zone}`).sort();
  const text = [name, replicationFactor, ...list].join('\n');
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
