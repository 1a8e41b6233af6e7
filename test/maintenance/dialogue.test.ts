import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { Peer } from '../../src/io/peer.js';
import { Dialogue } from '../../src/maintenance/dialogue.js';
import { Pace } from '../../src/maintenance/pace.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';

/** Answers `keys` with a key of its own each time. */
function answering(nodeId: string, answer: () => object | Promise<object>): Peer {
  return { nodeId, connected: true, ask: async () => answer() } as unknown as Peer;
}

function dialogueWith(peer: Peer, time: VirtualTime): Dialogue {
  const { clock, timers } = time;
  const pace = new Pace(clock, timers, () => false, 0);
  const deadlineMs = clock.monotonicMs() + 1_000;
  const signal = undefined;
  return new Dialogue({ from: 'n1', self: peer, peer, clock, timers, pace, deadlineMs, signal });
}

const KEYS = { from: 'n1', partition: 0, segments: [0] };

test('nothing that was answered is kept, however long the dialogue goes on', async () => {
  const answered: WeakRef<object>[] = [];
  const peer = answering('n2', () => {
    const reply = { kind: 'reply', keys: [new Uint8Array(1_024)] };
    answered.push(new WeakRef(reply));
    return reply;
  });
  const dialogue = dialogueWith(peer, createVirtualTime());
  for (let i = 0; i < 100; i++) await dialogue.askPeer('keys', KEYS);
  setFlagsFromString('--expose-gc');
  // What a WeakRef was asked for lives until the turn is over.
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  (runInNewContext('gc') as () => void)();
  const kept = answered.filter((reply) => reply.deref() !== undefined).length;
  expect(dialogue.over).toBe(false);
  expect(kept).toBeLessThan(10);
});

test('whoever waits is let go at the end, and afterwards nobody waits', async () => {
  const time = createVirtualTime();
  const peer = answering('n2', () => new Promise(() => {}));
  const dialogue = dialogueWith(peer, time);
  const asked = Promise.all([dialogue.askPeer('keys', KEYS), dialogue.wait(1e9)]);
  const over = dialogue.whenOver();
  await time.advance(1_000);
  expect(await asked).toEqual([undefined, undefined]);
  await over;
  await dialogue.whenOver();
  await dialogue.wait(1e9);
  expect(await dialogue.askPeer('keys', KEYS)).toBeUndefined();
  expect(dialogue.end.end).toBe('late');
});
