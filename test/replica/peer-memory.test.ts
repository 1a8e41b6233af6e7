import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareIncarnations, incarnationAfter } from '../../src/core/incarnation.js';
import { isAhead, PeerMemory } from '../../src/replica/peer-memory.js';

const lifeAt = (wallMs: number) => incarnationAfter(undefined, wallMs, new Uint8Array(2));

const news = fc.array(
  fc.tuple(
    fc.constantFrom('n1', 'n2', 'n3'),
    fc.integer({ min: 1, max: 4 }).map(lifeAt),
    fc.nat(5),
  ),
);

const lines = (memory: PeerMemory, ids = ['n2', 'n3']) =>
  ids.map((id) => {
    const { incarnation, commitCounter } = memory.of(id) ?? {};
    return `${id} ${Buffer.from(incarnation ?? []).toString('hex')} ${commitCounter}`;
  });

describe('what is remembered of others', () => {
  test('is the latest life of each and the most of it, in whatever order it is heard', () => {
    fc.assert(
      fc.property(news, (heard) => {
        const memory = new PeerMemory('n1');
        for (const one of heard) memory.learn(...one);
        const backwards = new PeerMemory('n1');
        for (const one of heard.toReversed()) backwards.learn(...one);
        expect(lines(memory)).toEqual(lines(backwards));
        for (const [id, incarnation, commitCounter] of heard) {
          const remembered = memory.of(id);
          expect(remembered && isAhead({ incarnation, commitCounter }, remembered)).toBe(false);
        }
      }),
      { seed: 1 },
    );
  });

  test('is the same when it has been on disk, without the node itself', () => {
    fc.assert(
      fc.property(news, (heard) => {
        const memory = new PeerMemory('n1');
        for (const one of heard) memory.learn(...one);
        const again = new PeerMemory('n1', memory.encode());
        expect(memory.dirty).toBe(false);
        expect(lines(again)).toEqual(lines(memory));
        expect(again.of('n1')).toBeUndefined();
        expect(again.known).toEqual(memory.known);
        expect(again.known.map(({ nodeId }) => nodeId)).not.toContain('n1');
      }),
      { seed: 2 },
    );
  });

  test('has a version that grows with every later life, and says whose it was', () => {
    fc.assert(
      fc.property(news, (heard) => {
        const memory = new PeerMemory('n1');
        for (const one of heard) {
          const [id, incarnation] = one;
          const before = memory.of(id)?.incarnation;
          const { version, known } = memory;
          const isLater = before !== undefined && compareIncarnations(incarnation, before) > 0;
          memory.learn(...one);
          expect(memory.version).toBe(version + (isLater ? 1 : 0));
          if (isLater) expect(memory.changedAt(id)).toBe(memory.version);
          // One object until it says something else.
          if (before !== undefined && !isLater) expect(memory.known).toBe(known);
        }
      }),
      { seed: 3 },
    );
  });

  test('is of a node that has forgotten when it is ahead of what the node says', () => {
    const own = { incarnation: lifeAt(5), commitCounter: 10 };
    expect(isAhead({ incarnation: lifeAt(5), commitCounter: 10 }, own)).toBe(false);
    expect(isAhead({ incarnation: lifeAt(4), commitCounter: 99 }, own)).toBe(false);
    expect(isAhead({ incarnation: lifeAt(5), commitCounter: 11 }, own)).toBe(true);
    expect(isAhead({ incarnation: lifeAt(6), commitCounter: 0 }, own)).toBe(true);
  });
});
