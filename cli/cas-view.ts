import { formatVersion, parseVersion } from '../src/core/version.js';
import type { CasResult, Expect } from '../src/index.js';
import { bytesToDisplay, bytesToJson, type BytesJson } from './byte-text.js';
import { entryView, type EntryView } from './entry-view.js';
import { EXIT } from './exit-code.js';
import { CommandFailure, receiptView, usageError, type ReceiptView } from './failure.js';
import { jsonText, writeData, type OutputFormat } from './output.js';
import type { Settings } from './settings.js';
import { printWritten, writtenView, type WrittenView } from './written-view.js';

/** A compare-and-set in machine output. Documented in cli/README.md. */
type CasView =
  | (WrittenView & { readonly swapped: true })
  | {
      readonly key: BytesJson;
      readonly swapped: false;
      readonly requestId: string;
      /** Absent: nothing is there. */
      readonly found?: EntryView;
      readonly receipt?: ReceiptView;
    };

/** Prints how a compare-and-set ended, and throws when it lost: data alone does not tell people that nothing was written. */
export async function printCas(
  format: OutputFormat,
  key: Uint8Array,
  result: CasResult<Uint8Array>,
): Promise<void> {
  const isJson = format === 'json' || format === 'jsonl';
  if (result.swapped) {
    const written = writtenView(key, result);
    if (isJson) await writeData(jsonText(format, casView(key, result)));
    else await printWritten(format, [written]);
    return;
  }
  if (isJson) await writeData(jsonText(format, casView(key, result)));
  const { found } = result;
  const name = bytesToDisplay(key);
  throw new CommandFailure(
    EXIT.conflict,
    'LOST',
    found === undefined
      ? `${name} is absent; nothing was written`
      : `${name} holds ${bytesToDisplay(found.value)}, version ${formatVersion(found.version)}; nothing was written`,
  );
}

function casView(key: Uint8Array, result: CasResult<Uint8Array>): CasView {
  if (result.swapped) {
    const { key: name, ...rest } = writtenView(key, result);
    return { key: name, swapped: true, ...rest };
  }
  const { found, requestId, receipt } = result;
  return {
    key: bytesToJson(key),
    swapped: false,
    requestId,
    ...(found !== undefined && { found: entryView(found) }),
    ...(receipt !== undefined && { receipt: receiptView(receipt) }),
  };
}

export interface ExpectFlags {
  readonly ifVersion?: string;
  readonly ifValue?: string;
  readonly ifAbsent?: true;
}

/** What `--if-version`, `--if-value` and `--if-absent` expect; undefined: nothing. */
export function expectOf(flags: ExpectFlags): Expect<Uint8Array> | undefined {
  const { ifVersion, ifValue, ifAbsent } = flags;
  const given = [ifVersion, ifValue, ifAbsent].filter((flag) => flag !== undefined);
  if (given.length > 1) throw usageError('--if-version, --if-value, --if-absent: give one of them');
  if (ifAbsent === true) return 'absent';
  if (ifValue !== undefined) return { value: Buffer.from(ifValue) };
  if (ifVersion === undefined) return undefined;
  const version = parseVersion(ifVersion);
  if (version !== undefined) return { version };
  throw usageError(
    `--if-version: "${ifVersion}" is not a version`,
    'Take it from `kvctl get --with-version`.',
  );
}

/** What compares has one level. */
export function requireLinearizable({ consistency }: Settings): void {
  if (consistency !== undefined && consistency !== 'LINEARIZABLE') {
    throw usageError(`--consistency ${consistency}: what is compared is LINEARIZABLE`);
  }
}
