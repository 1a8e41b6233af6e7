import { formatCount } from '../durations.js';
import { renderTable, type Column } from '../output.js';
import { CAS_OPERATIONS, type CasBenchResult, type CasMeasure } from './cas-run.js';
import { latencyColumns } from './latency-columns.js';

type Row = readonly [name: string, measure: CasMeasure];

const COLUMNS: readonly Column<Row>[] = [
  { title: 'OPERATION', cell: ([name]) => name },
  { title: 'PER SECOND', align: 'right', cell: ([, { perSecond }]) => formatCount(perSecond) },
  ...latencyColumns<Row>(([, measure]) => measure),
];

/** The four kinds of operation, and what LINEARIZABLE keeps of the rates at QUORUM. */
export function casReport({ measures, casOfPuts, linearOfQuorumGets }: CasBenchResult): string {
  const rows = CAS_OPERATIONS.map((operation): Row => [operation, measures[operation]]);
  return `${renderTable(COLUMNS, rows)}
compare-and-sets at ${percent(casOfPuts)} of the rate of QUORUM puts, LINEARIZABLE gets at ${percent(linearOfQuorumGets)} of QUORUM gets
`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
