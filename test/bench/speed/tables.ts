import { formatCount } from '../../../cli/durations.js';
import { renderTable, type Column } from '../../../cli/output.js';
import type { GrowthPoint } from './growth.js';
import type { Machine } from './machine.js';
import { median, type Figures } from './measured.js';
import type { RowResult, Verdict } from './rounds.js';

const NOTHING = '-';

function ms(value: number | undefined): string {
  return value?.toFixed(2) ?? NOTHING;
}

function figureColumns<T>(figuresOf: (line: T) => Figures | undefined): Column<T>[] {
  const column = (title: string, show: (figures: Figures) => string): Column<T> => ({
    title,
    align: 'right',
    cell: (line) => {
      const figures = figuresOf(line);
      return figures === undefined ? NOTHING : show(figures);
    },
  });
  return [
    column('OPS/S', ({ perSecond }) => formatCount(perSecond)),
    column('P50 MS', ({ p50Ms }) => ms(p50Ms)),
    column('P99 MS', ({ p99Ms }) => ms(p99Ms)),
    column('P99.9 MS', ({ p999Ms }) => ms(p999Ms)),
    column('CLIENT µS', ({ clientMicros }) => clientMicros?.toFixed(1) ?? NOTHING),
    column('NODES µS', ({ nodesMicros }) => nodesMicros.toFixed(1)),
    column('PEAK MB', ({ peakAnonBytes }) => (peakAnonBytes / 1e6).toFixed(0)),
  ];
}

export function machineText(machine: Machine): string {
  return [
    `${machine.cores} cores of ${machine.cpu}, ${machine.memoryGB} GB, ${machine.kernel}`,
    `Quorate ${machine.quorate} on Node.js ${machine.node}; etcd: ${machine.etcd}`,
    `data on ${machine.fileSystem}, ${formatCount(machine.syncsPerSecond)} syncs/s; load ${machine.loadBefore.toFixed(1)} before the first slice`,
    '',
  ].join('\n');
}

interface FigureLine {
  readonly row: string;
  readonly about: string;
  readonly system: string;
  readonly figures: Figures;
}

export function rowsText(results: readonly RowResult[]): string {
  const lines = results.flatMap(({ name, about, systems }) =>
    Object.entries(systems).map(([system, { median: figures }], at): FigureLine => ({
      row: at === 0 ? name : '',
      about: at === 0 ? about : '',
      system,
      figures,
    })),
  );
  const columns: Column<FigureLine>[] = [
    { title: 'ROW', cell: ({ row }) => row },
    { title: 'WORK', cell: ({ about }) => about },
    { title: 'SYSTEM', cell: ({ system }) => system },
    ...figureColumns<FigureLine>(({ figures }) => figures),
  ];
  return renderTable(columns, lines) + troublesText(results);
}

/** What would make a figure mean something else than it says. */
function troublesText(results: readonly RowResult[]): string {
  const lines = results.flatMap(({ name, systems }) =>
    Object.entries(systems).flatMap(([system, { median: figures, firstError }]) => {
      const { errors, missing } = figures;
      const why = firstError === undefined ? '' : ` (${firstError})`;
      return [
        errors > 0 ? `${name} on ${system}: ${formatCount(errors)} failed${why}` : [],
        missing > 0 ? `${name} on ${system}: ${formatCount(missing)} not found` : [],
      ].flat();
    }),
  );
  const elsewhere = results.flatMap(({ systems }) =>
    Object.values(systems).map((result) => result.median.elsewhereCores),
  );
  if (elsewhere.length > 0) {
    const cores = median(elsewhere).toFixed(2);
    lines.push(`${cores} cores were busy with other things (median over rows and systems)`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

interface VerdictLine extends Verdict {
  readonly row: string;
}

export function verdictsText(results: readonly RowResult[]): string {
  const lines = results.flatMap(({ name, verdicts }) =>
    verdicts.map((verdict): VerdictLine => ({ row: name, ...verdict })),
  );
  if (lines.length === 0) return '';
  const columns: Column<VerdictLine>[] = [
    { title: 'ROW', cell: ({ row }) => row },
    { title: 'MEASURE', cell: ({ what }) => what },
    { title: 'QUORATE', align: 'right', cell: ({ quorate }) => quorate },
    { title: 'OTHER', align: 'right', cell: ({ other }) => other ?? '' },
    { title: 'RATIO', align: 'right', cell: ({ ratio }) => ratio?.toFixed(2) ?? '' },
    { title: 'OF ROUNDS', align: 'right', cell: ({ roundRatios }) => spreadOf(roundRatios) },
    { title: 'TARGET', align: 'right', cell: ({ target }) => target },
    { title: '', cell: ({ isMet }) => (isMet ? 'met' : 'MISSED') },
  ];
  return renderTable(columns, lines);
}

function spreadOf(ratios: readonly number[] | undefined): string {
  if (ratios === undefined) return '';
  return `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
}

export function growthText(points: readonly GrowthPoint[]): string {
  const columns: Column<GrowthPoint>[] = [
    { title: 'GROWING', cell: ({ axis }) => axis },
    { title: 'TO', align: 'right', cell: ({ size }) => formatCount(size) },
    { title: 'OPERATION', cell: ({ operation }) => `QUORUM ${operation}` },
    { title: 'IN FLIGHT', align: 'right', cell: ({ inFlight }) => `${inFlight}` },
    ...figureColumns<GrowthPoint>(({ figures }) => figures),
    {
      title: 'WIRE BYTES',
      align: 'right',
      cell: ({ wireBytes }) => (wireBytes === undefined ? NOTHING : formatCount(wireBytes)),
    },
    { title: '', cell: ({ why }) => why ?? '' },
  ];
  return renderTable(columns, points);
}
