import { describe, expect, test } from 'vitest';
import { memberColumns, memberRows } from '../../cli/commands/members.js';
import { failureOf, summaryOf, type RepairRow } from '../../cli/commands/repair.js';
import {
  summaryLines,
  verdictOn,
  verificationView,
  type Verification,
} from '../../cli/commands/verify.js';
import type { NodeReport } from '../../cli/node-reports.js';
import { renderTable } from '../../cli/output.js';
import { repairNotes, REPAIR_COLUMNS, roundText } from '../../cli/repair-view.js';
import { COPY_COLUMNS, copyRows } from '../../cli/replica-copies.js';
import type { BeliefReport, DifferenceReport, RoundReport } from '../../src/wire/repair-reports.js';
import type { ExplainedReplica } from '../../src/wire/replica-report.js';
import type { NodeStatusReport } from '../../src/wire/reports.js';
import { STATUS } from '../wire/fake-node.js';

function copy(
  node: string,
  wallMs: number,
  rest: Partial<ExplainedReplica> = {},
): ExplainedReplica {
  return {
    node,
    result: 'found',
    version: { wallMs, logical: 0, writerHi: 0, writerLo: 1 },
    digest: '00112233aabbccdd',
    recordBytes: 0,
    valueBytes: 0,
    tombstone: false,
    expired: false,
    hidden: false,
    reason: '',
    ...rest,
  };
}

function nothing(node: string): ExplainedReplica {
  const { version: _, ...rest } = copy(node, 0, { result: 'absent', digest: '' });
  return rest;
}

const DIFFERENCE: DifferenceReport = {
  partition: 17,
  key: Buffer.from('user/42'),
  replicas: [
    copy('n1', 1_700_000_000_000),
    copy('n2', 1_700_000_000_500, { tombstone: true }),
    nothing('n3'),
  ],
};

function verification(changes: Partial<Verification['summary']> = {}): Verification {
  return {
    summary: {
      partitions: 256,
      compared: 256,
      differingPartitions: 0,
      differing: 0,
      uncompared: [],
      durationMs: 1_200,
      ...changes,
    },
    differences: [],
  };
}

describe('verify', () => {
  test('shows who holds what of each key that differs, the key once', () => {
    expect(renderTable(COPY_COLUMNS, copyRows(DIFFERENCE))).toBe(
      [
        'KEY      PARTITION  REPLICA  HOLDS             WRITTEN AT                VERSION                             DIGEST',
        'user/42         17  n1       older value       2023-11-14T22:13:20.000Z  018bcfe56800-0000-0000000000000001  00112233aabbccdd',
        '                    n2       newest tombstone  2023-11-14T22:13:20.500Z  018bcfe569f4-0000-0000000000000001  00112233aabbccdd',
        '                    n3       nothing           -                         -                                   -',
        '',
      ].join('\n'),
    );
  });

  test('calls every copy of the newest record newest, and tells what could not be read', () => {
    const replicas = [
      copy('n1', 5),
      copy('n2', 5),
      copy('n3', 0, { result: 'failed', reason: 'R' }),
    ];
    const rows = copyRows({ ...DIFFERENCE, replicas });
    expect(renderTable(COPY_COLUMNS, rows)).toMatch(
      /newest value.*\n.*newest value.*\n.*failed: R/,
    );
  });

  test('ends with 0 when all were compared and equal, 8 where they differ, 5 where not all could be', () => {
    const silent = { compared: 200, uncompared: [{ node: 'n3', reason: 'it is down' }] };
    expect(verdictOn(verification())).toBeUndefined();
    expect(verdictOn(verification({ differing: 1 }))?.exitCode).toBe(8);
    expect(verdictOn(verification({ differing: 1, ...silent }))?.exitCode).toBe(8);
    expect(verdictOn(verification(silent))?.exitCode).toBe(5);
    expect(verificationView(verification()).equal).toBe(true);
    expect(verificationView(verification(silent)).equal).toBe(false);
  });

  test('says in a sentence what was found', () => {
    expect(summaryLines(verification())).toEqual([
      'All replicas of all keys hold the same. Looked through in 1 s.',
    ]);
    const uncompared = [{ node: 'n3', reason: 'it is down' }];
    expect(summaryLines(verification({ compared: 200, uncompared }))).toEqual([
      'No difference was found, but in 56 of 256 partitions not all replicas could be compared. Looked through in 1 s.',
      'n3 was not compared: it is down',
    ]);
    expect(verdictOn(verification({ compared: 200, uncompared }))?.message).toBe(
      'n3 could not be compared',
    );
    const found = verification({ differing: 1_201, differingPartitions: 2 });
    expect(summaryLines({ ...found, differences: [DIFFERENCE] })[0]).toBe(
      '1,201 keys in 2 of 256 partitions differ. 1,200 of them not shown: --limit. Looked through in 1 s.',
    );
  });

  test('tells machines the same', () => {
    const found = verification({ differing: 1, differingPartitions: 1 });
    expect(verificationView({ ...found, differences: [DIFFERENCE] })).toEqual({
      equal: false,
      partitions: 256,
      compared: 256,
      differingPartitions: 1,
      differingKeys: 1,
      durationMs: 1_200,
      uncompared: [],
      differences: [
        {
          partition: 17,
          key: 'user/42',
          replicas: [
            {
              node: 'n1',
              result: 'found',
              version: '018bcfe56800-0000-0000000000000001',
              writtenAt: '2023-11-14T22:13:20.000Z',
              digest: '00112233aabbccdd',
              tombstone: false,
              hidden: false,
            },
            {
              node: 'n2',
              result: 'found',
              version: '018bcfe569f4-0000-0000000000000001',
              writtenAt: '2023-11-14T22:13:20.500Z',
              digest: '00112233aabbccdd',
              tombstone: true,
              hidden: false,
            },
            { node: 'n3', result: 'absent' },
          ],
        },
      ],
    });
  });
});

function repaired(node: string, peer: string, pulled: number, reason = ''): RepairRow {
  const complete = reason === '';
  const counts = { partitions: 1, differing: pulled, pulled, pushed: 0, bytes: 2_048 };
  return { node, unreachable: false, peer, complete, reason, ...counts, durationMs: 5 };
}

describe('repair', () => {
  test('is whole when every comparison was complete', () => {
    const rows = [repaired('n1', 'n2', 3), repaired('n2', 'n1', 0)];
    expect(failureOf(rows)).toBeUndefined();
    expect(summaryOf(rows)).toBe('Mended: 3 records were copied, with 4.0 KiB of traffic.');
    expect(summaryOf([repaired('n1', 'n2', 0)])).toBe(
      'Nothing differed: there was nothing to mend.',
    );
  });

  test('is whole when each pair was compared from one end', () => {
    const rows = [repaired('n1', 'n2', 0, 'n2 has just started'), repaired('n2', 'n1', 3)];
    expect(failureOf(rows)).toBeUndefined();
    expect(summaryOf(rows)).toMatch(/^Mended: 3 records/);
  });

  test('ends with 5 and says which could not be compared, each once', () => {
    const rows: RepairRow[] = [
      repaired('n1', 'n2', 1, 'it went away'),
      { node: 'n2', unreachable: true, reason: 'down' },
      repaired('n1', 'n3', 0, 'it is cut off'),
      repaired('n3', 'n1', 0, 'it is cut off'),
    ];
    expect(failureOf(rows)).toMatchObject({
      exitCode: 5,
      message: 'could not be compared: n2, n1 with n3',
    });
    expect(summaryOf(rows)).toMatch(/^Mended in part: 1 record was copied/);
  });
});

function member(id: string, report: Partial<NodeStatusReport> | undefined): NodeReport {
  return {
    id,
    address: `${id}:1`,
    zone: 'z',
    endpoint: `${id}:1`,
    report: report && { ...STATUS, nodeId: id, ...report },
    roundTripMs: 1,
    reason: report === undefined ? 'down' : '',
  };
}

const ROUND: RoundReport = {
  peer: 'n2',
  result: 'equal',
  reason: '',
  agoMs: 3_000,
  durationMs: 1,
  keys: 0,
  bytes: 400,
};

describe('the status of repair', () => {
  test('tells the last comparison in a few words', () => {
    expect(roundText({ ...ROUND, result: 'never' })).toBe('n2 never');
    expect(roundText(ROUND)).toBe('n2 equal 3 s ago');
    expect(roundText({ ...ROUND, result: 'mended', keys: 1, bytes: 2_048 })).toBe(
      'n2 mended 1 key (2.0 KiB) 3 s ago',
    );
    expect(roundText({ ...ROUND, result: 'incomplete', reason: 'it went away' })).toBe(
      'n2 incomplete 3 s ago: it went away',
    );
    expect(roundText({ ...ROUND, result: 'incomplete', reason: 'n2: it is cut off' })).toBe(
      'n2 incomplete 3 s ago: it is cut off',
    );
  });

  test('has a line for each node, and none of a node that says nothing', () => {
    const repair = { ...STATUS.repair, rounds: [ROUND], bytes: 4_096 };
    const nodes = [
      member('n1', { repair }),
      member('n2', {
        repair: { ...repair, treesReady: false },
        hints: { ...STATUS.hints, owed: [] },
      }),
      member('n3', undefined),
    ];
    expect(renderTable(REPAIR_COLUMNS, nodes)).toBe(
      [
        'NODE  HINTS OWED   DIFFERING  REPAIRED  LAST COMPARED',
        'n1    3 to n2              1   4.0 KiB  n2 equal 3 s ago',
        'n2    none        rebuilding   4.0 KiB  n2 equal 3 s ago',
        'n3    -                    -         -  -',
        '',
      ].join('\n'),
    );
  });

  test('says in sentences what is not as it should be', () => {
    const repair = { ...STATUS.repair, treesReady: false, corruptKeys: 1 };
    expect(repairNotes(member('n1', { repair }))).toEqual([
      'n1 is rebuilding its hash trees; until that is done it is compared with nobody',
      'n1 cannot read 1 key: the checksums fail. Reads go to the other replicas, and it asks them for good copies',
      'n1 owes 3 keys to n2, and delivers them when it reaches n2 again',
    ]);
    expect(repairNotes(member('n1', undefined))).toEqual([]);
    const well = { ...STATUS.repair, corruptKeys: 0 };
    const peers = STATUS.peers.map((peer) => ({ ...peer, state: 'connected' as const }));
    const members = [believes('n2', 'alive')];
    expect(repairNotes(member('n1', { repair: well, peers, members }))).toEqual([
      'n1 owes 3 keys to n2, and is delivering them',
    ]);
  });
});

function believes(nodeId: string, status: BeliefReport['status']): BeliefReport {
  return { nodeId, address: `${nodeId}:1`, status, generation: 1, forMs: 65_000 };
}

describe('members', () => {
  test('have a column for what each node believes', () => {
    const rows = memberRows([
      member('n1', { members: [believes('n2', 'alive'), believes('n3', 'dead')] }),
      member('n2', { members: [believes('n1', 'alive'), believes('n3', 'suspect')] }),
      member('n3', undefined),
    ]);
    expect(renderTable(memberColumns(rows), rows)).toBe(
      [
        'NODE  ADDRESS  ZONE  BY n1           BY n2              BY n3',
        'n1    n1:1     z     -               alive              ?',
        'n2    n2:1     z     alive           -                  ?',
        'n3    n3:1     z     dead 1 min 5 s  suspect 1 min 5 s  -',
        '',
      ].join('\n'),
    );
  });

  test('of many nodes have one, which names those that do not believe what most do', () => {
    const ids = Array.from({ length: 12 }, (_, at) => `n${at + 1}`);
    const rows = memberRows(
      ids.map((id) =>
        member(id, { members: ids.map((of) => believes(of, id === 'n7' ? 'dead' : 'alive')) }),
      ),
    );
    expect(renderTable(memberColumns(rows), rows).split('\n')[1]).toBe(
      'n1    n1:1     z     alive by 10, dead by 1 (n7)',
    );
  });
});
