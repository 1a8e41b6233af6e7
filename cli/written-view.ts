import { formatVersion } from '../src/core/version.js';
import type { Written } from '../src/index.js';
import { bytesToDisplay, bytesToJson, type BytesJson } from './byte-text.js';
import { isoTime, writtenAt } from './entry-view.js';
import { EXIT } from './exit-code.js';
import { CommandFailure, receiptView, replicaLine, type ReceiptView } from './failure.js';
import { jsonText, printRows, writeData, type Column, type OutputFormat } from './output.js';

/** An acknowledged write in machine output. Documented in cli/README.md. */
export interface WrittenView {
  readonly key: BytesJson;
  readonly version: string;
  readonly writtenAt: string;
  readonly expiresAt?: string;
  readonly shadowedBy?: string;
  /** Of a LINEARIZABLE write. */
  readonly requestId?: string;
  readonly receipt?: ReceiptView;
}

export function writtenView(key: Uint8Array, written: Written): WrittenView {
  const { version, expiresAtMs, shadowedBy, requestId, receipt } = written;
  return {
    key: bytesToJson(key),
    version: formatVersion(version),
    writtenAt: writtenAt(version),
    ...(expiresAtMs !== undefined && { expiresAt: isoTime(expiresAtMs) }),
    ...(shadowedBy !== undefined && { shadowedBy: formatVersion(shadowedBy) }),
    ...(requestId !== undefined && { requestId }),
    ...(receipt !== undefined && { receipt: receiptView(receipt) }),
  };
}

const COLUMNS: readonly Column<WrittenView>[] = [
  { title: 'KEY', cell: ({ key }) => displayKey(key) },
  { title: 'VERSION', cell: ({ version }) => version },
  { title: 'WRITTEN AT', cell: (view) => view.writtenAt },
  { title: 'EXPIRES AT', cell: ({ expiresAt = '' }) => expiresAt },
  { title: 'SHADOWED BY', cell: ({ shadowedBy = '' }) => shadowedBy },
  {
    title: 'REQUEST ID',
    // Long, and for the few: who asks for a receipt wants to know everything.
    cell: ({ receipt, requestId = '' }) => (receipt === undefined ? '' : requestId),
  },
  {
    title: 'REPLICAS',
    cell: ({ receipt }) => (receipt?.replicas ?? []).map(replicaLine).join('; '),
  },
];

/** `raw` is the bare version; `json` of one write is an object, of several an array. */
export async function printWritten(
  format: OutputFormat,
  written: readonly WrittenView[],
): Promise<void> {
  if (format === 'raw') {
    await writeData(written.map(({ version }) => `${version}\n`).join(''));
  } else if (format === 'json' && written.length === 1) {
    await writeData(jsonText('json', written[0]));
  } else {
    const isUsed = (column: Column<WrittenView>) =>
      written.some((view) => column.cell(view) !== '');
    await printRows(format, COLUMNS.filter(isUsed), written, (view) => view);
  }
}

/** Undefined when no write lost. */
export function shadowFailure(written: readonly Written[]): CommandFailure | undefined {
  const lost = written.filter(({ shadowedBy }) => shadowedBy !== undefined);
  if (lost.length === 0) return undefined;
  return new CommandFailure(
    EXIT.conflict,
    'SHADOWED',
    lost.length === 1
      ? 'a newer version hides the write'
      : `newer versions hide ${lost.length} of the writes`,
    'Somebody else wrote at the same time, or a clock is wrong: see `kvctl explain KEY` and `kvctl clock`.',
  );
}

function displayKey(key: BytesJson): string {
  return typeof key === 'string' ? key : bytesToDisplay(Buffer.from(key.base64, 'base64'));
}
