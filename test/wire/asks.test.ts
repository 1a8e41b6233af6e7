import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KvError } from '../../src/core/errors.js';
import type { Rumour } from '../../src/core/membership.js';
import { countPartitions } from '../../src/core/partition-set.js';
import {
  DONE,
  type AskKind,
  type AskReply,
  type AskRequest,
  type Progress,
} from '../../src/io/peer-asks.js';
import { decodeAskReply, encodeAskReply } from '../../src/wire/ask-replies.js';
import { decodeAsk, encodeAsk } from '../../src/wire/ask-requests.js';
import { v1 } from '../../src/wire/messages.js';
import { text } from './fake-node.js';

const OPTIONS = { numRuns: 100, seed: 404 };

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const names = fc.string({ minLength: 1, maxLength: 20 });
const counts = fc.maxSafeNat();
const partitions = fc.nat(255);
const incarnations = bytes(8);
const fences = bytes(16);
const someFences = fc.oneof(fc.constant(new Uint8Array(0)), fences);
const partitionSets = bytes(32);
const keyLists = fc.array(fc.uint8Array({ minLength: 1, maxLength: 30 }), { maxLength: 8 });
const progress: fc.Arbitrary<Progress> = fc.record({
  incarnation: incarnations,
  commitCounter: counts,
});
const rumours: fc.Arbitrary<Rumour> = fc.record({
  nodeId: names,
  address: names,
  generation: counts,
  status: fc.constantFrom('alive', 'suspect', 'dead'),
});
const fenceRequests = fc.record({ partition: partitions, fence: fences });
const settlements = fc.record({ partition: partitions, fence: fences, promised: fences });
const done = fc.constant(DONE);
const reply = fc.constant('reply' as const);
/** What is left out when there is nothing of it. */
const memory = fc.oneof(
  fc.record({}),
  progress.map((remembers) => ({ remembers })),
);

/** Every kind of ask: the requests there are, and the replies that answer one. */
const ASKS: {
  readonly [K in AskKind]: {
    readonly request: fc.Arbitrary<AskRequest<K>>;
    readonly replyTo: (request: AskRequest<K>) => fc.Arbitrary<AskReply<K>>;
  };
} = {
  introduce: {
    request: fc
      .tuple(progress, memory)
      .map(([self, known]) => ({ nodeId: 'n2', ...self, ...known })),
    replyTo: () =>
      fc
        .tuple(progress, memory, fc.constantFrom('serving', 'waiting', 'refilling'))
        .map(([self, known, state]) => ({ kind: 'reply', state, ...self, ...known })),
  },
  'record-life': {
    request: fc.record({ nodeId: names, incarnation: incarnations }),
    replyTo: () => done,
  },
  fences: {
    request: fc.record({ partitions: partitionSets }),
    replyTo: (request) =>
      fc.record({ kind: reply, fences: bytes(48 * countPartitions(request.partitions)) }),
  },
  'promise-fence': {
    request: fenceRequests,
    replyTo: () =>
      fc.record({
        kind: reply,
        promised: fences,
        sealed: someFences,
        committed: someFences,
        mark: counts,
      }),
  },
  'seal-fence': {
    request: fc.record({ partition: partitions, fence: fences, mark: counts }),
    replyTo: () => done,
  },
  'commit-fence': { request: settlements, replyTo: () => done },
  'release-fence': { request: settlements, replyTo: () => done },
  promises: {
    request: fc.record({ partitions: partitionSets, after: fc.uint8Array({ maxLength: 30 }) }),
    replyTo: () =>
      fc
        .record({
          kind: reply,
          ballots: fc.array(bytes(16), { maxLength: 8 }),
          more: fc.boolean(),
        })
        .map((said) => ({ ...said, keys: said.ballots.map((_, i) => text(`k${i}`)) })),
  },
  digests: {
    request: fc.record({
      from: fc.constant('n2'),
      partitions: partitionSets,
      combined: bytes(8),
      takes: fc.boolean(),
    }),
    replyTo: (request) =>
      fc
        .oneof(
          fc.constantFrom(
            { ready: false, equal: false, busy: false, digests: new Uint8Array(0) },
            { ready: true, equal: true, busy: false, digests: new Uint8Array(0) },
            { ready: true, equal: false, busy: true, digests: new Uint8Array(0) },
          ),
          bytes(8 * countPartitions(request.partitions)).map((digests) => ({
            ready: true,
            equal: false,
            busy: false,
            digests,
          })),
        )
        .map((answer) => ({ kind: 'reply', ...answer })),
  },
  segments: {
    request: fc.record({
      from: fc.constant('n2'),
      partition: partitions,
      groups: fc.uniqueArray(fc.nat(127)).map((groups) => Uint8Array.from(groups).sort()),
      wide: fc.boolean(),
    }),
    replyTo: ({ groups, wide }) =>
      fc.record({
        kind: reply,
        digests: bytes((groups.length === 0 ? 128 : groups.length * 16) * (wide ? 8 : 4)),
        promised: someFences,
        committed: someFences,
      }),
  },
  keys: {
    request: fc.record({
      from: fc.constant('n2'),
      partition: partitions,
      segments: fc.array(fc.nat(2_047), { minLength: 1, maxLength: 12 }),
    }),
    replyTo: ({ segments }) =>
      fc
        .tuple(
          fc.array(fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 30 }), bytes(25))),
          keyLists,
          fc.integer({ min: 1, max: segments.length }),
          someFences,
        )
        .map(([rows, corrupt, listed, committed]) => ({
          kind: 'reply',
          keys: rows.map(([key]) => key),
          headers: rows.map(([, header]) => header),
          corrupt,
          listed,
          committed,
        })),
  },
  owe: { request: fc.record({ target: names, keys: keyLists }), replyTo: () => done },
  probe: {
    request: fc.record({ target: names }),
    replyTo: () => fc.record({ kind: reply, reached: fc.boolean() }),
  },
  members: {
    request: fc.record({ from: fc.constant('n2') }),
    replyTo: () => fc.record({ kind: reply, members: fc.array(rumours, { maxLength: 8 }) }),
  },
};
const KINDS = Object.keys(ASKS) as AskKind[];

/** A request, and a reply that answers it. */
function exchanges<K extends AskKind>(
  kind: K,
): fc.Arbitrary<{ readonly request: AskRequest<K>; readonly answer: AskReply<K> }> {
  const { request, replyTo } = ASKS[kind];
  return request.chain((what) => replyTo(what).map((answer) => ({ request: what, answer })));
}

/** What a decoder gives are Buffers; compared as plain bytes. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}

describe.each(KINDS)('%s', (kind) => {
  test('arrives as it was asked and answered', () => {
    fc.assert(
      fc.property(exchanges(kind), ({ request, answer }) => {
        const arrived = decodeAsk(encodeAsk(kind, request), 'n2');
        expect(arrived.kind).toBe(kind);
        expect(plain(arrived.request)).toEqual(plain(request));
        const reread = decodeAskReply(kind, request, encodeAskReply(kind, answer));
        expect(plain(reread)).toEqual(plain(answer));
      }),
      OPTIONS,
    );
  });

  test('cut short or altered, is read or refused with the field, and nothing else is thrown', () => {
    fc.assert(
      fc.property(
        exchanges(kind),
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 0, max: 255 }),
        ({ request, answer }, length, at, byte) => {
          const damage = (encoded: Uint8Array): Uint8Array => {
            const damaged = Uint8Array.from(encoded);
            if (damaged.length > 0) damaged[at % damaged.length] = byte;
            return damaged.subarray(0, length % (damaged.length + 1));
          };
          refusesOrReads(() => decodeAsk(damage(encodeAsk(kind, request)), 'n2'));
          refusesOrReads(() => decodeAskReply(kind, request, damage(encodeAskReply(kind, answer))));
        },
      ),
      OPTIONS,
    );
  });
});

test('garbage is read or refused with the field, and nothing else is thrown', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 80 }),
      fc.constantFrom(...KINDS).chain((kind) => fc.tuple(fc.constant(kind), exchanges(kind))),
      (garbage, [kind, { request }]) => {
        refusesOrReads(() => decodeAsk(garbage, 'n2'));
        refusesOrReads(() => decodeAskReply(kind, request, garbage));
      },
    ),
    OPTIONS,
  );
});

function refusesOrReads(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'none' });
    expect((error as KvError).message).toMatch(/^[a-z_]+(\[\d+\])?(\.[a-z_]+)?: ./);
  }
}

function asked(body: v1.Ask.$Properties): () => unknown {
  return () => decodeAsk(v1.Ask.encode(body).finish(), 'n2');
}

function answered<K extends AskKind>(
  kind: K,
  request: AskRequest<K>,
  body: v1.AskReply.$Properties,
): () => unknown {
  return () => decodeAskReply(kind, request, v1.AskReply.encode(body).finish());
}

test('what no node asks or replies is refused, naming the field and the bound', () => {
  const set = Buffer.alloc(32, 1);
  const groups = Uint8Array.of(1, 2);
  const segments = { from: 'n2', partition: 0, groups, wide: false };
  const refusals: [() => unknown, string][] = [
    [asked({}), 'ask: nothing that this release knows is asked'],
    [asked({ introduce: {} }), 'self.incarnation: 0 bytes, it must be 8'],
    [
      asked({ introduce: { self: { incarnation: text('12345678'), commitCounter: 2 ** 60 } } }),
      'self.commit_counter: 1152921504606847000, the limit is 9007199254740991',
    ],
    [asked({ recordLife: { nodeId: '' } }), 'node_id: 0 characters, it must have 1 to 300'],
    [
      asked({ recordLife: { nodeId: 'n', incarnation: text('123') } }),
      'incarnation: 3 bytes, it must be 8',
    ],
    [asked({ fences: { partitions: text('1') } }), 'partitions: 1 bytes, it must be 32'],
    [asked({ promiseFence: { partition: 256 } }), 'partition: 256, it must be below 256'],
    [asked({ commitFence: { partition: 255 } }), 'fence: 0 bytes, it must be 16'],
    [asked({ releaseFence: { fence: Buffer.alloc(16) } }), 'promised: 0 bytes, it must be 16'],
    [asked({ digests: { partitions: set } }), 'combined: 0 bytes, it must be 8'],
    [asked({ segments: { groups: Uint8Array.of(128) } }), 'groups[0]: 128, it must be below 128'],
    [asked({ segments: { groups: Uint8Array.of(5, 5) } }), 'groups[1]: 5 does not follow 5'],
    [asked({ keys: {} }), 'segments: 0, it must be 1 to 2048'],
    [asked({ keys: { segments: [1, 2_048] } }), 'segments[1]: 2048, it must be below 2048'],
    [asked({ owe: { target: 'n', keys: [text('')] } }), 'key: must not be empty'],
    [asked({ probe: {} }), 'target: 0 characters, it must have 1 to 300'],
    [answered('probe', { target: 'n' }, { owe: {} }), 'reply: it does not answer "probe"'],
    [
      answered('fences', { partitions: set }, { fences: { fences: text('') } }),
      'fences: 0 bytes, it must be 1536',
    ],
    [
      answered(
        'digests',
        { from: 'n2', partitions: set, combined: text('12345678') },
        { digests: { ready: true, equal: true, digests: text('1') } },
      ),
      'digests: 1 bytes, it must be 0',
    ],
    [answered('segments', segments, { segments: {} }), 'digests: 0 bytes, it must be 128'],
    [
      answered('segments', segments, {
        segments: { digests: Buffer.alloc(128), committed: text('1') },
      }),
      'committed: 1 bytes, it must be 16, or 0 for none',
    ],
    [
      answered(
        'keys',
        { from: 'n2', partition: 0, segments: [1] },
        { keys: { keys: [text('k')], headers: text('short'), listed: 1 } },
      ),
      'headers: 5 bytes, it must be 25',
    ],
    [
      answered('keys', { from: 'n2', partition: 0, segments: [1] }, { keys: { listed: 2 } }),
      'listed: 2, it must be 1 to 1',
    ],
    [
      answered(
        'members',
        { from: 'n2' },
        { members: { members: [{ nodeId: 'n', address: 'a', status: 3 as v1.MemberStatus }] } },
      ),
      'members[0].status: 3, it must be below 3',
    ],
  ];
  for (const [attempt, message] of refusals)
    expect(attempt).toThrow(new KvError('INVALID_ARGUMENT', message));
});
