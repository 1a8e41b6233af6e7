import { formatVersion } from '../src/core/version.js';
import type { DifferenceReport } from '../src/wire/repair-reports.js';
import type { ExplainedReplica } from '../src/wire/replica-report.js';
import { bytesToDisplay } from './byte-text.js';
import { isoTime, writtenAt } from './entry-view.js';
import type { Column } from './output.js';

/** One replica's copy of a key on which replicas differ. The key stands in the first row of it. */
interface CopyRow {
  readonly key: string;
  readonly partition: string;
  readonly replica: ExplainedReplica;
  readonly isNewest: boolean;
}

export const COPY_COLUMNS: readonly Column<CopyRow>[] = [
  { title: 'KEY', cell: ({ key }) => key },
  { title: 'PARTITION', align: 'right', cell: ({ partition }) => partition },
  { title: 'REPLICA', cell: ({ replica }) => replica.node },
  { title: 'HOLDS', cell: (row) => holds(row) },
  { title: 'WRITTEN AT', cell: ({ replica: { version } }) => (version ? writtenAt(version) : '-') },
  {
    title: 'VERSION',
    cell: ({ replica: { version } }) => (version ? formatVersion(version) : '-'),
  },
  { title: 'DIGEST', cell: ({ replica }) => replica.digest || '-' },
];

export function copyRows({ key, partition, replicas }: DifferenceReport): CopyRow[] {
  const newest = newestOf(replicas);
  return replicas.map((replica, at) => ({
    key: at === 0 ? bytesToDisplay(key) : '',
    partition: at === 0 ? String(partition) : '',
    replica,
    isNewest: newest !== undefined && orderOf(replica) === newest,
  }));
}

/** A replica's copy in machine output. Documented in cli/README.md. */
export function copyView(replica: ExplainedReplica) {
  const { node, result, version, digest, recordBytes, valueBytes, tombstone, hidden } = replica;
  return {
    node,
    result,
    ...(version !== undefined && {
      version: formatVersion(version),
      writtenAt: writtenAt(version),
    }),
    ...(result === 'found' && { digest, tombstone, hidden }),
    ...(recordBytes > 0 && { recordBytes, valueBytes }),
    ...(replica.expiresAtMs !== undefined && {
      expiresAt: isoTime(replica.expiresAtMs),
      expired: replica.expired,
    }),
    ...(replica.reason !== '' && { reason: replica.reason }),
  };
}

function holds({ replica, isNewest }: CopyRow): string {
  const { result, tombstone, reason } = replica;
  if (result === 'absent') return 'nothing';
  if (result !== 'found') return `${result}: ${reason}`;
  return `${isNewest ? 'newest' : 'older'} ${tombstone ? 'tombstone' : 'value'}`;
}

function newestOf(replicas: readonly ExplainedReplica[]): string | undefined {
  const held = replicas.map(orderOf).filter((order) => order !== undefined);
  return held.sort().at(-1);
}

/** Sorts as records do: by version, of equal ones the tombstone last, then by digest. */
function orderOf({ version, tombstone, digest }: ExplainedReplica): string | undefined {
  return version && `${formatVersion(version)} ${tombstone ? 1 : 0} ${digest}`;
}
