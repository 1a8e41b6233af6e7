import type { Member } from '../../src/core/placement.js';
import { laterOf, type Evidence, type StoredRecord } from '../sim/check/evidence.js';
import { isRoundKey, isWrite, observationsOf, type History } from '../sim/history.js';

/**
 * What the clients of real nodes saw, in the place of what a simulation knows: what was read had been on disks; the last
 * reads, of replicas that are equal, say what is there in the end; and a delete that may have been stored explains absence.
 */
export function evidenceOf(
  history: History,
  members: readonly Pick<Member, 'id' | 'zone'>[],
): Evidence {
  const plain = history.filter(({ key }) => !isRoundKey(key));
  const keys = [...new Set(plain.map(({ key }) => key))];
  const stored = new Map<string, StoredRecord>();
  const last = new Map<string, StoredRecord>();
  const absent = new Set<string>();
  for (const { key, version, value } of observationsOf(plain, keys)) {
    if (version === undefined || version === '') {
      absent.add(key);
      last.delete(key);
      continue;
    }
    const record = recordOf(key, version, value);
    stored.set(`${key}@${version}`, record);
    last.set(key, record);
  }
  const dropped = new Map<string, string>();
  for (const entry of plain) {
    const { op, key, status } = entry;
    const stamp = entry.stamps?.at(-1);
    if (!isWrite(entry) || op !== 'delete' || status === 'fail' || stamp === undefined) continue;
    stored.set(`${key}@${stamp}`, recordOf(key, stamp, undefined));
    if (absent.has(key)) dropped.set(key, laterOf(stamp, dropped.get(key) ?? ''));
  }
  return {
    keys,
    roundKeys: [],
    replicasOf: () => members.map(({ id, zone }) => ({ node: id, zone })),
    stored: [...stored.values()],
    copies: new Map(members.map(({ id }) => [id, last])),
    dropped,
    everDamaged: new Set(),
    damaged: new Set(),
    nodeStamps: [],
    // Clocks are set off on purpose.
    clocksSane: false,
    startWallMs: 0,
    clockErrorMs: 0,
    behindFences: [],
    wrongTrees: [],
    forgot: false,
  };
}

function recordOf(key: string, version: string, value: string | undefined): StoredRecord {
  return { node: 'some node', key, version, digest: '', tombstone: value === undefined, value };
}
