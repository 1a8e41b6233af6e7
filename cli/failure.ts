import { getSystemErrorMap } from 'node:util';
import { KvError } from '../src/core/errors.js';
import type { Receipt } from '../src/core/receipt.js';
import { formatVersion } from '../src/core/version.js';
import { printable } from './byte-text.js';

/** A command that ends otherwise than well, for a reason that is no {@link KvError}: absence, differences, bad usage. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';

  constructor(
    readonly exitCode: number,
    /** In capitals, for machines: NOT_FOUND, DIFFERS, USAGE, ... */
    readonly code: string,
    message: string,
    readonly advice = '',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The command line does not say what to do. Nothing was sent. */
export function usageError(message: string, advice = 'See --help.'): CommandFailure {
  return new CommandFailure(2, 'USAGE', message, advice);
}

/** An error as the machine formats print it on stderr. Documented in cli/README.md. */
export interface ErrorView {
  readonly code: string;
  readonly message: string;
  /** `none`: nothing happened; `unknown`: it may have. */
  readonly outcome: string;
  readonly retryable: boolean;
  readonly advice: string;
  readonly node?: string;
  /** Of a LINEARIZABLE write of unknown outcome. */
  readonly requestId?: string;
  readonly receipt?: ReceiptView;
}

export interface ReceiptView {
  readonly coordinator: string;
  readonly needed: number;
  readonly answered: number;
  readonly replicas: readonly {
    readonly node: string;
    readonly result: string;
    readonly version?: string;
    readonly reason?: string;
  }[];
  readonly shadowedBy?: string;
}

export function receiptView(receipt: Receipt): ReceiptView {
  return {
    coordinator: receipt.coordinator,
    needed: receipt.needed,
    answered: receipt.answered,
    replicas: receipt.replicas.map(({ node, result, version, reason }) => ({
      node,
      result,
      ...(version !== undefined && { version: formatVersion(version) }),
      ...(reason !== undefined && reason !== '' && { reason }),
    })),
    ...(receipt.shadowedBy !== undefined && { shadowedBy: formatVersion(receipt.shadowedBy) }),
  };
}

export function errorView(error: unknown): ErrorView {
  if (error instanceof KvError) {
    return {
      code: error.code,
      message: error.message,
      outcome: error.outcome,
      retryable: error.retryable,
      advice: error.advice,
      ...(error.node !== undefined && { node: error.node }),
      ...(error.requestId !== undefined && { requestId: error.requestId }),
      ...(error.receipt !== undefined && { receipt: receiptView(error.receipt) }),
    };
  }
  if (error instanceof CommandFailure) {
    const { code, message, advice } = error;
    return { code, message, outcome: 'none', retryable: false, advice };
  }
  if (isSystemError(error)) {
    const { code, message, path, errno = 0 } = error;
    const problem = getSystemErrorMap().get(errno)?.[1];
    return {
      code,
      message: path === undefined || problem === undefined ? message : `${path}: ${problem}`,
      outcome: 'none',
      retryable: false,
      advice: 'Check the path, its permissions and the space that is left.',
    };
  }
  return {
    code: 'INTERNAL',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    outcome: 'unknown',
    retryable: false,
    advice: 'This is a defect in kvctl; please report it with the command that you ran.',
  };
}

/** What happened, whether it may have taken effect, and what to try: one line each. */
export function errorLines(view: ErrorView): string[] {
  const lines = [`error: ${multiline(view.message)} [${view.code}]`];
  if (view.outcome === 'unknown') lines.push('  It may have taken effect, or may still.');
  if (view.requestId !== undefined) lines.push(`  Ask with: kvctl outcome ${view.requestId}`);
  // A refusal of a field says so in its advice; a failure that can be tried again leaves people wondering.
  if (view.outcome !== 'unknown' && view.retryable) lines.push('  It had no effect.');
  for (const replica of view.receipt?.replicas ?? []) lines.push(`  ${replicaLine(replica)}`);
  if (view.advice !== '') lines.push(`  ${view.advice}`);
  return lines;
}

export function replicaLine(replica: {
  readonly node: string;
  readonly result: string;
  readonly version?: string;
  readonly reason?: string;
}): string {
  const version = replica.version === undefined ? '' : `  ${replica.version}`;
  const reason = replica.reason === undefined ? '' : `  (${replica.reason})`;
  return printable(`${replica.node}  ${replica.result}${version}${reason}`);
}

/** Keeps the line breaks of a message, and nothing else that could steer a terminal. */
function multiline(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException & { code: string } {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}
