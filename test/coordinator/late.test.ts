import { expect, test } from 'vitest';
import { headerOf } from '../../src/core/record.js';
import type { ApplyAnswer, ReadAnswer } from '../../src/io/peer.js';
import { createWorld, getOf, placementOf, putOf, recordAt, type TestOperation } from './fixture.js';
import { ScriptedPeer } from './scripted-peer.js';

const NODES = ['n1', 'n2', 'n3'].map((id) => ({ id, zone: 'a' }));
const RECORD = recordAt('k', 'v', 0);

/** Two of three answer, the second after the deadline, before anybody has looked at the clock. */
function answeredLate(operation: TestOperation, answer: ApplyAnswer | ReadAnswer): void {
  const peers = new Map(NODES.map(({ id }) => [id, new ScriptedPeer(id)]));
  const { coordinator, time } = createWorld({
    placement: placementOf(NODES, () => [0, 1, 2]),
    peerOf: (id) => peers.get(id) as ScriptedPeer,
  });
  coordinator.execute(operation);
  const [first, second] = [...peers.values()].filter(({ waiting }) => waiting.length > 0);
  first?.answer(answer);
  time.clock.monotonicMs = () => operation.deadlineMs;
  second?.answer(answer);
}

test('a write counts no replica after its deadline: what it said may have been mended away since', () => {
  const put = putOf('k', RECORD);
  answeredLate(put, { kind: 'applied' });
  expect(put.answers).toMatchObject([{ code: 'TIMED_OUT', outcome: 'unknown' }]);
});

test.each(['QUORUM', 'LINEARIZABLE'] as const)('nor does a read at %s', (level) => {
  const get = getOf('k', { level });
  answeredLate(get, { kind: 'found', header: headerOf(RECORD), record: RECORD });
  expect(get.answers).toMatchObject([{ code: 'TIMED_OUT', outcome: 'none' }]);
});
