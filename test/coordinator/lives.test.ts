import { describe, expect, test } from 'vitest';
import type { Lives } from '../../src/coordinator/context.js';
import { headerOf } from '../../src/core/record.js';
import { createWorld, getOf, placementOf, putOf, recordAt } from './fixture.js';
import { ScriptedPeer } from './scripted-peer.js';

const NODES = ['n1', 'n2', 'n3'].map((id) => ({ id, zone: 'a' }));

/** Three scripted replicas, and lives that a test lets end. */
function setUp() {
  const peers = new Map(NODES.map(({ id }) => [id, new ScriptedPeer(id)]));
  const changed = new Map<string, number>();
  const lives: Lives & { version: number } = {
    version: 0,
    changedAt: (nodeId) => changed.get(nodeId) ?? 0,
  };
  const world = createWorld({
    placement: placementOf(NODES, () => [0, 1, 2]),
    peerOf: (id) => peers.get(id) as ScriptedPeer,
    lives,
  });
  return {
    ...world,
    peer: (id: string) => peers.get(id) as ScriptedPeer,
    forgets: (id: string) => changed.set(id, ++lives.version),
  };
}

const RECORD = recordAt('k', 'v', 0);

describe('an answer of an earlier life', () => {
  test('is not counted for a write that hears of the later one with another answer', () => {
    const { coordinator, peer, forgets, owed } = setUp();
    const put = putOf('k', RECORD, { receipt: true });
    coordinator.execute(put);
    peer('n3').answer({ kind: 'applied' });
    forgets('n3');
    peer('n1').answer({ kind: 'applied' });
    expect(put.answers).toEqual([]);
    peer('n2').answer({ kind: 'applied' });
    expect(put.answers).toMatchObject([{ code: undefined, receipt: { needed: 2, answered: 2 } }]);
    expect(owed).toEqual(['n3 k']);
  });

  test('leaves unknown what became of a write that lacks it', () => {
    const { coordinator, peer, forgets } = setUp();
    const put = putOf('k', RECORD);
    coordinator.execute(put);
    peer('n3').answer({ kind: 'applied' });
    peer('n2').answer({ kind: 'refused', code: 'STORE_FAILED', message: 'full' });
    forgets('n3');
    peer('n1').answer({ kind: 'applied' });
    expect(put.answers).toMatchObject([
      {
        code: 'NO_QUORUM',
        outcome: 'unknown',
        message: expect.stringContaining('n3 failed (it answered before it forgot') as string,
      },
    ]);
  });

  test('that comes late is not counted either, and others that forgot nothing are', () => {
    const { coordinator, peer, forgets } = setUp();
    const put = putOf('k', RECORD);
    coordinator.execute(put);
    forgets('n2');
    peer('n2').answer({ kind: 'applied' });
    peer('n1').answer({ kind: 'applied' });
    expect(put.answers).toEqual([]);
    peer('n3').answer({ kind: 'kept', header: headerOf(RECORD) });
    expect(put.answers).toMatchObject([{ code: undefined }]);
  });

  test('is lost to a read, which asks another replica', () => {
    const { coordinator, peer, forgets } = setUp();
    const get = getOf('k');
    coordinator.execute(get);
    peer('n1').answer({ kind: 'found', header: headerOf(RECORD), record: RECORD });
    forgets('n1');
    peer('n2').answer({ kind: 'found', header: headerOf(RECORD) });
    expect(get.answers).toEqual([]);
    peer('n3').answer({ kind: 'found', header: headerOf(RECORD) });
    expect(get.answers).toMatchObject([{ code: undefined, record: RECORD }]);
  });

  test('is lost to a read that had counted it as having the answer on disk', () => {
    const { coordinator, peer, forgets } = setUp();
    const get = getOf('k');
    coordinator.execute(get);
    peer('n1').answer({ kind: 'found', header: headerOf(RECORD), record: RECORD });
    // n2 lacks it, and is given it; meanwhile the only one that had it forgets.
    peer('n2').answer({ kind: 'absent' });
    forgets('n1');
    peer('n2').answer({ kind: 'applied' });
    expect(get.answers).toEqual([]);
    peer('n3').answer({ kind: 'applied' });
    expect(get.answers).toMatchObject([{ code: undefined, record: RECORD }]);
  });

  test('does not trouble what begins after it', () => {
    const { coordinator, peer, forgets } = setUp();
    forgets('n2');
    const put = putOf('k', RECORD);
    coordinator.execute(put);
    peer('n2').answer({ kind: 'applied' });
    peer('n1').answer({ kind: 'applied' });
    expect(put.answers).toMatchObject([{ code: undefined }]);
  });
});
