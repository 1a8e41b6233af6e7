import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type { Peer, ReplicaFailure } from '../../src/io/peer.js';
import { answerOwe, HintKeepers } from '../../src/maintenance/hint-keepers.js';
import { bytes, openTestReplica } from '../replica/fixtures.js';

const UNREACHABLE: ReplicaFailure = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'not connected',
};

async function world() {
  const { replica, time } = await openTestReplica(memoryStoreOpener());
  replica.answer(
    'owe',
    answerOwe(replica.hints, DEFAULT_LIMITS, (nodeId) => nodeId === 'n2' || nodeId === 'n3'),
  );
  let asked = 0;
  let connected = true;
  const peer: Pick<Peer, 'ask'> = {
    async ask(kind, request, deadlineMs) {
      asked++;
      return connected ? replica.ask(kind, request, deadlineMs) : UNREACHABLE;
    },
  };
  const keepers = new HintKeepers({
    peerOf: (nodeId) => (nodeId === 'n1' ? (peer as Peer) : undefined),
    clock: time.clock,
    timers: time.timers,
  });
  return {
    replica,
    time,
    keepers,
    asked: () => asked,
    disconnect: () => {
      connected = false;
    },
  };
}

describe('a coordinator that stores nothing of a key', () => {
  test('has a replica that does keep the hints, many with one ask', async () => {
    const { replica, time, keepers, asked } = await world();
    for (let i = 0; i < 100; i++) keepers.owe('n1', 'n2', bytes(`key ${i}`));
    keepers.owe('n1', 'n3', bytes('other'));
    await time.advance(100);
    expect(replica.hints.status().owed).toEqual([
      { nodeId: 'n2', keys: 100 },
      { nodeId: 'n3', keys: 1 },
    ]);
    expect(asked()).toBe(2);
    expect(keepers.dropped).toBe(0);
  });

  test('counts what it could tell nobody', async () => {
    const { time, keepers, disconnect } = await world();
    disconnect();
    keepers.owe('n1', 'n2', bytes('a'));
    keepers.owe('stranger', 'n2', bytes('b'));
    await time.advance(100);
    expect(keepers.dropped).toBe(2);
  });

  test('holds a bounded number of keys', async () => {
    const { replica, time, keepers } = await world();
    for (let i = 0; i < 10_005; i++) keepers.owe('n1', 'n2', bytes(`key ${i}`));
    await time.advance(1_000);
    expect(replica.hints.owed).toBe(10_000);
    expect(keepers.dropped).toBe(5);
  });
});

describe('a replica that is asked to keep hints', () => {
  test('refuses them for who is no other member, and of what can be no key', async () => {
    const { replica } = await world();
    const ask = (target: string, key: Uint8Array) =>
      replica.ask('owe', { target, keys: [bytes('good'), key] }, Number.POSITIVE_INFINITY);
    for (const [target, key] of [
      ['n1', bytes('a')],
      ['n9', bytes('a')],
      ['n2', new Uint8Array(0)],
      ['n2', new Uint8Array(4_097)],
    ] as const) {
      expect(await ask(target, key)).toMatchObject({ kind: 'refused', code: 'INVALID_ARGUMENT' });
    }
    expect(replica.hints.owed).toBe(0);
  });
});
