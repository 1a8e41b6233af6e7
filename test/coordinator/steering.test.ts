import { expect, test } from 'vitest';
import {
  createWorld,
  getOf,
  placementOf,
  putOf,
  recordAt,
  type TestOperation,
  type World,
} from './fixture.js';
import { ScriptedPeer } from './scripted-peer.js';

const NODES = ['n1', 'n2', 'n3', 'n4'].map((id) => ({ id, zone: 'a' }));

interface Stage extends World {
  readonly peers: readonly ScriptedPeer[];
  run(operation: TestOperation): TestOperation;
  asked(): readonly string[];
}

/** n4 coordinates, and n1, n2 and n3 replicate everything. */
function createStage(): Stage {
  const peers = NODES.map(({ id }) => new ScriptedPeer(id));
  const world = createWorld({
    self: 'n4',
    placement: placementOf(NODES, () => [0, 1, 2]),
    peerOf: (nodeId) => peers.find((peer) => peer.nodeId === nodeId) as ScriptedPeer,
  });
  return Object.assign(world, {
    peers,
    run(operation: TestOperation) {
      world.coordinator.execute(operation);
      return operation;
    },
    asked: () => peers.filter(({ waiting }) => waiting.length > 0).map(({ nodeId }) => nodeId),
  });
}

const put = (): TestOperation => putOf('k', recordAt('k', 'v', 0), { receipt: true });

test('nothing is sent to a node that is believed to be dead: it is owed the key, and the receipt says why', () => {
  const stage = createStage();
  const [n1, n2, n3] = stage.peers;
  stage.coordinator.believed('n3', 'dead');
  const { answers } = stage.run(put());
  expect(stage.asked()).toEqual(['n1', 'n2']);
  n1?.answer({ kind: 'applied' });
  n2?.answer({ kind: 'applied' });
  expect(answers).toMatchObject([{ code: undefined }]);
  expect(answers[0]?.receipt?.replicas[2]).toMatchObject({ node: 'n3', result: 'unreachable' });
  expect(stage.owed).toEqual(['n3 k']);
  stage.coordinator.believed('n3', 'alive');
  stage.run(put());
  expect(n3?.waiting).toHaveLength(1);
});

test('a suspect is read last, and still written to', () => {
  const stage = createStage();
  stage.coordinator.believed('n1', 'suspect');
  stage.run(getOf('k'));
  expect(stage.asked()).toEqual(['n2', 'n3']);
  stage.run(put());
  expect(stage.asked()).toEqual(['n1', 'n2', 'n3']);
});

test('whoever answers is asked again at once, whatever was believed of it, and that is told once', () => {
  const stage = createStage();
  const [n1, , n3] = stage.peers;
  stage.run(put());
  stage.coordinator.believed('n1', 'suspect');
  stage.coordinator.believed('n3', 'dead');
  n1?.answer({ kind: 'applied' });
  n3?.answer({ kind: 'refused', code: 'OVERLOADED', message: 'busy' });
  expect(stage.alive).toEqual(['n1', 'n3']);
  stage.run(put());
  expect(n3?.waiting).toHaveLength(1);
  n1?.answer({ kind: 'applied' });
  expect(stage.alive).toEqual(['n1', 'n3']);
});

test('a call that failed is no sign of life', () => {
  const stage = createStage();
  stage.run(put());
  stage.coordinator.believed('n3', 'dead');
  stage.peers[2]?.answer({ kind: 'failed', code: 'UNAVAILABLE', message: 'the channel broke' });
  expect(stage.alive).toEqual([]);
  stage.run(put());
  expect(stage.asked()).not.toContain('n3');
});
