import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  MAX_RUMOURS,
  Membership,
  suspicionRoundsOf,
  type MemberStatus,
  type Rumour,
} from '../../src/core/membership.js';

const IDS = ['n1', 'n2', 'n3', 'n4'];

function membership(ids: readonly string[] = IDS): Membership {
  return new Membership(
    'n1',
    100,
    ids.map((id) => ({ id, address: `${id}:1` })),
    0,
  );
}

const STATUSES: readonly MemberStatus[] = ['alive', 'suspect', 'dead'];

/** Each generation of a node is at one address: it announces both together. */
const rumours: fc.Arbitrary<Rumour> = fc
  .record({
    nodeId: fc.constantFrom(...IDS),
    generation: fc.nat(5),
    status: fc.constantFrom(...STATUSES),
  })
  .map((rumour) => ({ ...rumour, address: `${rumour.nodeId}:${rumour.generation}` }));

const isHeardOf = ({ generation }: Rumour): boolean => generation > 0;
const isThird = (id: string): boolean => id === 'n3';

function take(members: Membership, list: readonly Rumour[]): Membership {
  for (const rumour of list) members.take(rumour, 0);
  return members;
}

test('whoever has heard the same rumours believes the same of others, in any order and however often', () => {
  fc.assert(
    fc.property(
      fc.array(rumours, { maxLength: 30 }).chain((list) =>
        fc.tuple(
          fc.constant(list),
          fc.shuffledSubarray([...list, ...list], {
            minLength: 2 * list.length,
            maxLength: 2 * list.length,
          }),
        ),
      ),
      ([one, other]) => {
        const believed = take(membership(), one).all.filter(({ nodeId }) => nodeId !== 'n1');
        const again = take(membership(), other).all.filter(({ nodeId }) => nodeId !== 'n1');
        expect(again.filter(isHeardOf)).toEqual(believed.filter(isHeardOf));
        expect(again.map(({ status }) => status)).toEqual(believed.map(({ status }) => status));
      },
    ),
    { seed: 1 },
  );
});

test('a node refutes whatever is untrue of it, with a generation above, and nothing else', () => {
  fc.assert(
    fc.property(
      fc.nat(200),
      fc.constantFrom(...STATUSES),
      fc.boolean(),
      (generation, status, here) => {
        const members = membership();
        const address = here ? 'n1:1' : 'n1:2';
        const untrue = generation > 100 || (generation === 100 && (status !== 'alive' || !here));
        const fate = members.take({ nodeId: 'n1', address, generation, status }, 0);
        expect(fate).toBe(untrue ? 'refuted' : 'old');
        expect(members.self).toEqual({
          nodeId: 'n1',
          address: 'n1:1',
          generation: untrue ? generation + 1 : 100,
          status: 'alive',
        });
      },
    ),
    { seed: 2 },
  );
});

test('a refutation wins over suspicion and death, and is passed on', () => {
  const members = membership();
  members.take({ nodeId: 'n2', address: 'n2:1', generation: 7, status: 'alive' }, 0);
  expect(members.suspect('n2', 1)).toBe(true);
  expect(members.suspect('n2', 1)).toBe(false);
  members.take({ nodeId: 'n2', address: 'n2:1', generation: 7, status: 'dead' }, 2);
  expect(members.of('n2')?.status).toBe('dead');
  members.take({ nodeId: 'n2', address: 'n2:9', generation: 8, status: 'alive' }, 3);
  expect(members.of('n2')).toMatchObject({ status: 'alive', address: 'n2:9' });
  expect(members.suspects).toEqual([]);
  expect(members.news('n3')).toContainEqual(members.of('n2'));
});

test('a suspect has its rounds, all of them again after a sleep, and those that answer have no end of them', () => {
  const members = membership();
  const rounds = suspicionRoundsOf(IDS.length);
  members.suspect('n2', 0);
  members.suspect('n3', 0);
  for (let i = 0; i < rounds; i++) expect(members.passRound(isThird, i)).toEqual([]);
  members.forgiveSleep();
  for (let i = 0; i < rounds; i++) expect(members.passRound(isThird, i)).toEqual([]);
  expect(members.passRound(isThird, 99)).toEqual(['n2']);
  expect([members.of('n2')?.status, members.sinceMs('n2')]).toEqual(['dead', 99]);
  expect(members.suspects).toEqual(['n3']);
});

test('a message is bounded, names nobody twice, begins with its sender and tells the receiver what is said of it', () => {
  const ids = Array.from({ length: 50 }, (_, i) => `n${i + 1}`);
  const members = membership(ids);
  for (const id of ids.slice(1)) {
    members.take({ nodeId: id, address: `${id}:1`, generation: 3, status: 'suspect' }, 0);
  }
  for (const to of ids.slice(1)) {
    const news = members.news(to);
    expect(news.length).toBeLessThanOrEqual(MAX_RUMOURS);
    expect(new Set(news.map(({ nodeId }) => nodeId)).size).toBe(news.length);
    expect(news[0]).toEqual(members.self);
    expect(news[1]).toEqual(members.of(to));
  }
});

test('news is passed on a bounded number of times, and what is known is told in turn for ever', () => {
  const members = membership();
  members.take({ nodeId: 'n2', address: 'n2:1', generation: 3, status: 'alive' }, 0);
  for (let i = 0; i < 100; i++) members.news('n3');
  const told = [members.news('n3'), members.news('n3'), members.news('n3'), members.news('n3')];
  for (const news of told) expect(news.length).toBeLessThanOrEqual(2);
  expect(new Set(told.flat().map(({ nodeId }) => nodeId))).toEqual(new Set(IDS));
});

test('a receiver that is behind of itself is told, so that a start by a clock that went back is seen', () => {
  const members = membership();
  members.take({ nodeId: 'n2', address: 'n2:1', generation: 9, status: 'alive' }, 0);
  for (let i = 0; i < 100; i++) members.news('n3');
  const itself: Rumour = { nodeId: 'n2', address: 'n2:1', generation: 5, status: 'alive' };
  expect(members.news('n2', itself)[1]).toEqual(members.of('n2'));
});

test.for([
  { nodeId: 'n9', address: 'x:1', generation: 3, status: 'alive' },
  { nodeId: 'n2', address: 'x:1', generation: Number.MAX_VALUE, status: 'alive' },
  { nodeId: 'n1', address: 'x:1', generation: Number.NaN, status: 'dead' },
] as const)(
  'a rumour of no member, or beyond every clock, is counted and ignored: $nodeId',
  (rumour) => {
    const members = membership();
    const before = members.all;
    expect(members.take(rumour, 0)).toBe('stranger');
    expect(members.strangers).toBe(1);
    expect(members.all).toEqual(before);
  },
);
