import { Metadata, status as grpcStatus } from '@grpc/grpc-js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CONSISTENCY_LEVELS } from '../../src/core/consistency.js';
import { ERROR_CODES, KvError, type ErrorCode } from '../../src/core/errors.js';
import type { Receipt, ReplicaOutcome } from '../../src/core/receipt.js';
import { isHead } from '../../src/core/record.js';
import { MAX_LOGICAL, MAX_WALL_MS, type Version } from '../../src/core/version.js';
import type { NodePage } from '../../src/io/link.js';
import type { ReplicaPage } from '../../src/io/peer.js';
import {
  consistencyToWire,
  receiptFromWire,
  receiptToWire,
  requireConsistency,
  versionFromWire,
  versionToWire,
} from '../../src/wire/codec.js';
import { v1 } from '../../src/wire/messages.js';
import {
  decodeNodePage,
  decodeNodeScan,
  decodeReplicaPage,
  decodeReplicaScan,
  nodePageBody,
  replicaPageBody,
} from '../../src/wire/range-codec.js';
import {
  codeFromWire,
  codeToWire,
  fromGrpcStatus,
  toGrpcStatus,
  WIRE_STATUS,
} from '../../src/wire/status.js';
import { text } from './fake-node.js';
import { written } from './written.js';

const OPTIONS = { numRuns: 200, seed: 11 };

function pageWith(record: Uint8Array): Uint8Array {
  const entries = [{ key: text('k'), record }];
  return written(nodePageBody({ kind: 'page', entries, token: new Uint8Array(0) }));
}

const versions: fc.Arbitrary<Version> = fc.record({
  wallMs: fc.integer({ min: 0, max: MAX_WALL_MS }),
  logical: fc.integer({ min: 0, max: MAX_LOGICAL }),
  writerHi: fc.integer({ min: 0, max: 0xffff_ffff }),
  writerLo: fc.integer({ min: 0, max: 0xffff_ffff }),
});

const outcomes: fc.Arbitrary<ReplicaOutcome> = fc
  .record({
    node: fc.string({ minLength: 1 }),
    result: fc.constantFrom('ok', 'repaired', 'refused', 'failed', 'unreachable', 'pending'),
    version: fc.option(versions),
    reason: fc.option(fc.string({ minLength: 1 })),
  })
  .map(({ node, result, version, reason }) => ({
    node,
    result: result as ReplicaOutcome['result'],
    ...(version === null ? {} : { version }),
    ...(reason === null ? {} : { reason }),
  }));

const receipts: fc.Arbitrary<Receipt> = fc
  .record({
    coordinator: fc.string({ minLength: 1 }),
    needed: fc.nat(9),
    answered: fc.nat(9),
    replicas: fc.array(outcomes, { maxLength: 9 }),
    shadowedBy: fc.option(versions),
  })
  .map(({ shadowedBy, ...receipt }) =>
    shadowedBy === null ? receipt : { ...receipt, shadowedBy },
  );

const keys = fc.uint8Array({ minLength: 1, maxLength: 20 });
const records = fc.uint8Array({ minLength: 25, maxLength: 60 }).filter(isHead);
const entries = fc.array(fc.record({ key: keys, record: records }), { maxLength: 10 });

/** What a decoder gives are Buffers; compared as plain bytes. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, part: unknown) => bytesOf(part) ?? part));
}

function bytesOf(part: unknown): string | undefined {
  if (part instanceof Uint8Array) return Buffer.from(part).toString('hex');
  const data = (part as { data?: number[]; type?: string } | null)?.data;
  return data === undefined ? undefined : Buffer.from(data).toString('hex');
}

describe('what travels comes back as it was', () => {
  test('versions, through 64-bit fields as numbers', () => {
    fc.assert(
      fc.property(versions, (version) => {
        const bytes = v1.Version.encode(versionToWire(version)).finish();
        expect(versionFromWire(v1.Version.decode(bytes), 'version')).toEqual(version);
      }),
      OPTIONS,
    );
  });

  test('receipts', () => {
    fc.assert(
      fc.property(receipts, (receipt) => {
        const bytes = v1.Receipt.encode(receiptToWire(receipt)).finish();
        expect(receiptFromWire(v1.Receipt.decode(bytes))).toEqual(receipt);
      }),
      OPTIONS,
    );
  });

  test('pages of scans', () => {
    fc.assert(
      fc.property(
        entries,
        fc.uint8Array(),
        fc.option(keys),
        fc.array(keys),
        (rows, token, to, corrupt) => {
          const page: NodePage = { kind: 'page', entries: rows, token };
          expect(plain(decodeNodePage(written(nodePageBody(page))))).toEqual(plain(page));
          const replicaPage: ReplicaPage = {
            kind: 'page',
            entries: rows,
            corrupt,
            ...(to === null ? {} : { scannedTo: to }),
          };
          expect(plain(decodeReplicaPage(written(replicaPageBody(replicaPage))))).toEqual(
            plain(replicaPage),
          );
        },
      ),
      OPTIONS,
    );
  });

  test('levels, and 0 is the default', () => {
    for (const level of CONSISTENCY_LEVELS) {
      expect(requireConsistency(consistencyToWire(level))).toBe(level);
    }
    expect(requireConsistency(0)).toBe('QUORUM');
  });

  test('errors, through status and trailers', () => {
    const codes = Object.keys(ERROR_CODES) as ErrorCode[];
    fc.assert(
      fc.property(
        fc.constantFrom(...codes),
        fc.constantFrom('none' as const, 'unknown' as const),
        fc.string({ maxLength: 200 }),
        fc.option(receipts),
        (code, outcome, message, receipt) => {
          const error = new KvError(code, message, {
            outcome,
            node: 'n2',
            ...(receipt === null ? {} : { receipt }),
          });
          const back = fromGrpcStatus(toGrpcStatus(error, 'n1'), 'host:1', 'unknown');
          expect(back).toMatchObject({ code, outcome, message, node: 'n2' });
          expect(back.receipt).toEqual(error.receipt);
        },
      ),
      OPTIONS,
    );
  });
});

describe('what no node sends', () => {
  test('is refused, naming the field', () => {
    const refusals: [() => unknown, RegExp][] = [
      [
        () => versionFromWire({ wallMs: 1, writer: text('short') }, 'version'),
        /^version.writer: 5 bytes/,
      ],
      [() => versionFromWire({ logical: 65_536, writer: text('12345678') }, 'v'), /^v.logical: /],
      [() => versionFromWire({ wallMs: 2 ** 53, writer: text('12345678') }, 'v'), /^v.wall_ms: /],
      [() => requireConsistency(9), /^consistency: 9 is not a level/],
      [() => requireConsistency(-1), /^consistency: -1/],
      [() => receiptFromWire({ replicas: [{ node: 'n', result: 'fine' }] }), /result: "fine"/],
      [() => decodeNodeScan(text('\u0000')), /RangeRequest/],
      [() => decodeNodeScan(new Uint8Array(0)), /^limit: 0/],
      [() => decodeReplicaScan(new Uint8Array(0), 1), /^partitions: 0 bytes/],
      [
        () => decodeNodePage(v1.RangePage.encode({ keys: [text('k')] }).finish()),
        /^page: 1 keys and 0 records/,
      ],
      [
        () =>
          decodeNodePage(v1.RangePage.encode({ keys: [text('k')], records: [text('r')] }).finish()),
        /^page.records\[0\]: 1 bytes/,
      ],
    ];
    for (const [attempt, message] of refusals) {
      expect(attempt).toThrow(KvError);
      expect(attempt).toThrow(message);
    }
  });

  test('a head without the expiry that it is flagged to have is refused', () => {
    const record = new Uint8Array(31);
    record[8] = 2;
    expect(decodeNodePage(pageWith(record)).entries).toHaveLength(1);
    for (const decode of [decodeNodePage, decodeReplicaPage]) {
      const page = pageWith(record.subarray(0, 30));
      expect(() => decode(page)).toThrow('page.records[0]: 30 bytes');
    }
  });

  test('random bytes are refused or decoded, and never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        for (const decode of [decodeNodeScan, decodeNodePage, decodeReplicaPage]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'none' });
          }
        }
      }),
      OPTIONS,
    );
  });

  test('text that is not UTF-8 is no message', () => {
    // Field 9 of a call, its zone, with a lone continuation byte.
    expect(() => v1.Call.decode(Buffer.from([0x4a, 1, 0x80]))).toThrow();
  });
});

describe('the numbers of error codes', () => {
  test('are for ever', () => {
    const numbers = Object.entries(WIRE_STATUS).map(([code, { number }]) => `${code} ${number}`);
    expect(numbers).toEqual([
      'INVALID_ARGUMENT 1',
      'NO_QUORUM 2',
      'UNAVAILABLE 3',
      'TIMED_OUT 4',
      'CANCELLED 5',
      'OVERLOADED 6',
      'CLOCK_DRIFT 7',
      'QUARANTINED 8',
      'STALE 9',
      'NOT_SUPPORTED 10',
      'WRONG_CLUSTER 11',
      'INCOMPATIBLE 12',
      'PLACEMENT_CHANGED 13',
      'STORE_FAILED 14',
      'RECORD_CORRUPT 15',
      'LOCKED 16',
      'REFUSED 17',
      'INTERNAL 18',
    ]);
  });

  test('lead back to their codes, and one of a newer release is INTERNAL', () => {
    for (const code of Object.keys(WIRE_STATUS) as ErrorCode[]) {
      expect(codeFromWire(codeToWire(code))).toBe(code);
    }
    expect(codeFromWire(0)).toBeUndefined();
    expect(codeFromWire(4_711 as v1.ErrorCode)).toBe('INTERNAL');
  });

  test('a status of gRPC itself is told in plain words, and names the endpoint once', () => {
    const refused = 'Error: connect ECONNREFUSED 127.0.0.1:1';
    const told: Readonly<Record<string, string>> = {
      [`No connection established. Last error: ${refused}. Resolution note: `]:
        'connection refused',
      'No connection established. Last error: Error: odd. Resolution note: none': 'odd',
      'Name resolution failed for target dns:host:1': 'its name cannot be resolved',
      'No connection established. Last error: Protocol error (2026-01-02T03:04:05.678Z). Resolution note: ':
        'Protocol error',
      'Connection dropped': 'Connection dropped',
    };
    for (const [details, words] of Object.entries(told)) {
      const failure = { code: grpcStatus.UNAVAILABLE, details, metadata: new Metadata() };
      expect(fromGrpcStatus(failure, 'host:1', 'none').message).toBe(`host:1: ${words}`);
    }
  });

  test('a status of gRPC itself leaves open what its caller leaves open', () => {
    const failure = { code: grpcStatus.UNAVAILABLE, details: 'gone', metadata: new Metadata() };
    expect(fromGrpcStatus(failure, 'host:1', 'unknown')).toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
      node: 'host:1',
    });
  });
});
