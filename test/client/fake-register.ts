import type { ErrorCode, Outcome } from '../../src/core/errors.js';
import { decodeExpectation } from '../../src/core/expectation.js';
import { expiredAnswer, isExpired } from '../../src/core/expiry.js';
import { HybridClock } from '../../src/core/hlc.js';
import { ANSWERED, floorOf } from '../../src/core/ledger.js';
import { decide, type Change, type Expectation } from '../../src/core/linear-decision.js';
import { decodeRecord, versionOf, type RecordFields } from '../../src/core/record.js';
import { encodeVersion, readVersion, ZERO_VERSION, type Version } from '../../src/core/version.js';
import type { Clock } from '../../src/io/clock.js';
import type { NodeAnswer, NodeCall } from '../../src/io/link.js';

/** Records by key, hexadecimal. */
type Records = Map<string, Uint8Array>;
/** What of a call matters here. */
type Asked = Pick<NodeCall, 'kind' | 'key' | 'record' | 'minVersion' | 'expect'>;

/** LINEARIZABLE on one replica: an honest register, which decides by the rule that real rounds go by. */
export class FakeRegister {
  readonly #records: Records;
  readonly #ballots: HybridClock;

  constructor(records: Records, clock: Clock) {
    this.#records = records;
    this.#ballots = new HybridClock({
      wallMs: () => clock.wallMs(),
      writer: { hi: 0xba110, lo: 0 },
      maxDriftMs: Infinity,
    });
  }

  carryOut(call: Asked, nowMs: number): NodeAnswer {
    const { kind, key } = call;
    const held = this.#records.get(nameOf(key));
    const id =
      kind === 'get'
        ? ZERO_VERSION
        : kind === 'put'
          ? versionOf(call.record)
          : readVersion(call.minVersion, 0);
    this.#ballots.observe(id);
    if (held !== undefined) this.#ballots.observe(versionOf(held));
    const ballot = this.#ballots.stamp() ?? ZERO_VERSION;
    const decision = decide(
      { key, id, change: changeOf(call) },
      { record: held, fence: ZERO_VERSION, ballot, nowMs },
    );
    if (decision.kind === 'forgotten') {
      const above = held === undefined ? ZERO_VERSION : floorUnder(held);
      return { ...TOO_LATE, version: encodeVersion(above) };
    }
    this.#records.set(nameOf(key), decision.record);
    const { code, version } = decision.result;
    const told = version === undefined ? {} : { version: encodeVersion(version) };
    if (code === 0 && kind === 'outcome') return TOO_LATE;
    if (code === 0) return { ...DONE, record: this.#read(key, nowMs) };
    const found = code === ANSWERED.lost ? this.#read(key, nowMs) : undefined;
    return { ...DONE, record: found, result: code, ...told };
  }

  #read(key: Uint8Array, nowMs: number): Uint8Array | undefined {
    return readAt(this.#records, key, nowMs);
  }
}

/** The record as it is answered at that time. */
export function readAt(records: Records, key: Uint8Array, nowMs: number): Uint8Array | undefined {
  const record = records.get(nameOf(key));
  return record !== undefined && isExpired(record, nowMs) ? expiredAnswer(key, record) : record;
}

function changeOf({ kind, record, expect }: Asked): Change {
  if (kind === 'get') return { kind: 'read' };
  if (kind === 'outcome') return { kind: 'outcome' };
  const { tombstone, value, expiresAtMs } = decodeRecord(record) as RecordFields;
  const expected = expect.length === 0 ? {} : { expect: decodeExpectation(expect) as Expectation };
  return {
    kind: 'write',
    next: {
      ...(tombstone ? {} : { value }),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    },
    ...expected,
  };
}

function floorUnder(record: Uint8Array): Version {
  const { ledger, version } = decodeRecord(record) as RecordFields;
  return ledger === undefined ? version : floorOf(ledger);
}

export const DONE: NodeAnswer = {
  code: undefined,
  outcome: 'none',
  message: '',
  record: undefined,
  shadow: undefined,
  receipt: undefined,
};

export function refusal(code: ErrorCode, outcome: Outcome, message: string): NodeAnswer {
  return { ...DONE, code, outcome, message };
}

const TOO_LATE = refusal('REFUSED', 'none', 'came too late');

export function nameOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
