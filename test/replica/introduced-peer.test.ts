import { describe, expect, test } from 'vitest';
import type { Peer, PeerEvents, ReadAnswer, ReadCall } from '../../src/io/peer.js';
import type { Introduction, IntroductionReply } from '../../src/io/peer-asks.js';
import { IntroducedPeer } from '../../src/replica/introduced-peer.js';
import { PeerMemory } from '../../src/replica/peer-memory.js';
import { createVirtualTime } from '../virtual-time.js';

const life = (wallMs: number): Uint8Array => {
  const bytes = Buffer.alloc(8);
  bytes.writeUIntBE(wallMs, 0, 6);
  return Uint8Array.from(bytes);
};

/** A node `n1` that says of itself what `reply` holds, seen from another one. */
function meet(reply: { current: IntroductionReply }) {
  const time = createVirtualTime();
  const memory = new PeerMemory('n2');
  const told: Introduction[] = [];
  let events: PeerEvents | undefined;
  const way = {
    nodeId: 'n1',
    connected: true,
    async ask(_: string, request: Introduction) {
      told.push(request);
      return reply.current;
    },
    read: (call: ReadCall, slot: number) =>
      time.timers.turn(() => call.onRead(slot, { kind: 'absent' })),
  } as unknown as Peer;
  const peer = new IntroducedPeer({
    nodeId: 'n1',
    connect(heard) {
      events = heard;
      return way;
    },
    clock: time.clock,
    timers: time.timers,
    memory,
    introduction() {
      const remembers = memory.of('n1');
      return {
        nodeId: 'n2',
        incarnation: life(1),
        commitCounter: 1,
        ...(remembers === undefined ? {} : { remembers }),
      };
    },
    onReachable: () => {},
    onMet: () => {},
    onIntroduced: () => {},
  });
  memory.onLaterLife = () => peer.outlived();
  const connect = async () => {
    events?.onLives({ incarnation: reply.current.incarnation, known: [] });
    events?.onCommitCounter(reply.current.commitCounter);
    events?.onConnected();
    await time.advance(1);
  };
  return { time, memory, told, peer, connect };
}

async function read(peer: Peer, time: ReturnType<typeof createVirtualTime>): Promise<string> {
  const answers: ReadAnswer[] = [];
  const call: ReadCall = {
    key: Buffer.from('k'),
    keyHash: 1,
    deadlineMs: Infinity,
    placementVersion: 1,
    traceparent: new Uint8Array(0),
    onRead: (_, answer) => answers.push(answer),
  };
  peer.read(call, 0, 'record');
  await time.until(() => answers.length > 0, 100);
  return answers[0]?.kind ?? '';
}

describe('a peer', () => {
  test('is asked for nothing more once a third node tells of a later life of it, and hears of that', async () => {
    const reply: { current: IntroductionReply } = {
      current: { kind: 'reply', state: 'serving', incarnation: life(5), commitCounter: 9 },
    };
    const { time, memory, told, peer, connect } = meet(reply);
    await connect();
    expect(peer.connected).toBe(true);
    expect(await read(peer, time)).toBe('absent');

    // The folder of its fifth life was put back; n3 was there when the seventh began.
    reply.current = { ...reply.current, state: 'refilling', incarnation: life(8) };
    memory.learnAll([{ nodeId: 'n1', incarnation: life(7) }]);
    expect(peer.connected).toBe(false);
    expect(await read(peer, time)).toBe('unreachable');
    await time.advance(10);
    expect(told.at(-1)?.remembers?.incarnation).toEqual(life(7));
    expect(peer.connected).toBe(false);

    reply.current = { ...reply.current, state: 'serving', commitCounter: 20 };
    await time.advance(2_000);
    expect(peer.connected).toBe(true);
    expect(await read(peer, time)).toBe('absent');
  });

  test('is not believed how far it has come before it has heard how far that was once', async () => {
    const reply: { current: IntroductionReply } = {
      current: { kind: 'reply', state: 'serving', incarnation: life(5), commitCounter: 20 },
    };
    const { told, connect } = meet(reply);
    await connect();
    // It comes back with a higher counter, which means nothing: it may have lost the commits up to 20, and gone on from 9.
    reply.current = { ...reply.current, commitCounter: 1_000 };
    await connect();
    expect(told.at(-1)?.remembers?.commitCounter).toBe(20);
  });

  test('that goes on in a life older than is known is never counted', async () => {
    const reply: { current: IntroductionReply } = {
      current: { kind: 'reply', state: 'serving', incarnation: life(5), commitCounter: 9 },
    };
    const { time, memory, peer, connect } = meet(reply);
    const connected = connect();
    // While it is being introduced.
    memory.learn('n1', life(7), 0);
    await connected;
    await time.advance(5_000);
    expect(peer.connected).toBe(false);
  });
});
