import { expect, test } from 'vitest';
import { silentLog } from '../src/io/log.js';
import { memoryStoreOpener } from '../src/io/memory-store.js';
import type { Peer, PeerEvents, PingAnswer, ReplicaFailure } from '../src/io/peer.js';
import type { IntroductionReply } from '../src/io/peer-asks.js';
import { createNode } from '../src/node.js';
import { seededRandom } from './seeded-random.js';
import { createVirtualTime } from './virtual-time.js';

const introduced: IntroductionReply = {
  kind: 'reply',
  state: 'serving',
  incarnation: new Uint8Array(8),
  commitCounter: 0,
};
const NOT_READY: ReplicaFailure = {
  kind: 'refused',
  code: 'UNAVAILABLE',
  message: 'not ready to answer',
};

const unused = (): never => {
  throw new Error('only pinged here');
};

test('a node that starts with a wrong clock is quarantined as soon as its peers are connected', async () => {
  const time = createVirtualTime();
  const clock = time.clockWithSkew(600_000);
  const connect: (() => void)[] = [];
  let connected = false;
  const peerTo = ({ id }: { readonly id: string }, events: PeerEvents): Peer => {
    connect.push(() => events.onConnected());
    return {
      nodeId: id,
      get connected() {
        return connected;
      },
      prepare: unused,
      apply: unused,
      read: unused,
      scan: unused,
      ping: async (): Promise<PingAnswer> => ({
        kind: 'pong',
        nodeId: id,
        wallMs: time.clock.wallMs(),
        hlc: { wallMs: time.clock.wallMs(), logical: 0, writerHi: 0, writerLo: 0 },
        quarantined: false,
        commitCounter: 0,
        incarnation: new Uint8Array(8),
        placementVersion: 1,
        rumours: [],
      }),
      ask: async (kind) => (kind === 'introduce' ? introduced : NOT_READY),
    };
  };
  const node = await createNode(
    {
      cluster: 'test',
      node: 'n1',
      members: ['n1', 'n2', 'n3'].map((id) => ({ id, address: `${id}:1`, zone: 'a' })),
      replication: 3,
      maxDriftMs: 500,
      maxValueBytes: 1_000,
    },
    {
      clock,
      timers: time.timers,
      random: seededRandom(1),
      log: silentLog,
      opener: memoryStoreOpener(),
      peerTo,
    },
  );
  await time.settle();
  expect(node.watch.quarantined()).toBe(false);
  connected = true;
  for (const tell of connect) tell();
  // No time passes: the next round of pings is far off.
  await time.settle();
  expect(node.watch.quarantined()).toBe(true);
  await expect(node.coordinator.stamp()).rejects.toMatchObject({ code: 'QUARANTINED' });
  const stopped = node.stop(0);
  await time.advance(1_000);
  await stopped;
});
