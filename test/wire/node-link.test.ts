import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeExpectation } from '../../src/core/expectation.js';
import { ANSWERED } from '../../src/core/ledger.js';
import type { Expectation } from '../../src/core/linear-decision.js';
import { decodeRecord, headerOf, versionOf } from '../../src/core/record.js';
import { encodeVersion } from '../../src/core/version.js';
import { systemClock } from '../../src/io/clock.js';
import type { Link, LinkState, NodeAnswer, NodeCall } from '../../src/io/link.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers } from '../../src/io/timers.js';
import { createGrpcLinker } from '../../src/wire/node-link.js';
import {
  recordOf,
  refusedWith,
  startFakeNode,
  text,
  until,
  version,
  welcomeOf,
  type FakeNode,
} from './fake-node.js';

const EMPTY = new Uint8Array(0);
const linker = createGrpcLinker({
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
});

class Attempt implements NodeCall {
  readonly level: NodeCall['level'];
  readonly zone = 'zürich';
  readonly timeoutMs: number = 5_000;
  readonly traceparent = EMPTY;
  readonly kind: NodeCall['kind'];
  readonly receipt = true;
  readonly expect: Uint8Array;
  readonly answers: NodeAnswer[] = [];

  constructor(
    readonly key: Uint8Array,
    readonly record: Uint8Array = EMPTY,
    readonly minVersion: Uint8Array = EMPTY,
    other: Partial<Pick<NodeCall, 'kind' | 'level' | 'expect'>> = {},
  ) {
    this.kind = other.kind ?? (record.length === 0 ? 'get' : 'put');
    this.level = other.level ?? 'ALL';
    this.expect = other.expect ?? EMPTY;
  }

  onAnswer(answer: NodeAnswer): void {
    this.answers.push(answer);
  }

  async answer(): Promise<NodeAnswer> {
    await until(() => this.answers.length > 0);
    return this.answers[0] as NodeAnswer;
  }
}

let node: FakeNode;
let link: Link;
const states: LinkState[] = [];

beforeAll(async () => {
  node = await startFakeNode();
  link = linker.open(node.endpoint, (state) => states.push(state));
  await until(() => link.welcome !== undefined);
});

afterAll(async () => {
  await link.close(1_000);
  await node.server.close(1_000);
});

beforeEach(() => {
  node.coordinator.hold = false;
});

describe("the SDK's link to a node", () => {
  test('opens with what the node says of its cluster', () => {
    expect(link.welcome).toEqual(welcomeOf());
    expect(states).toMatchObject([{ kind: 'open', welcome: welcomeOf() }]);
    const [state] = states;
    expect(state?.kind === 'open' && state.roundTripMs >= 0).toBe(true);
  });

  test('carries puts and gets as they are', async () => {
    const record = recordOf('k', 'v', 5);
    const put = new Attempt(text('k'), record);
    link.send(put);
    expect(put.answers).toEqual([]);
    expect(await put.answer()).toMatchObject({
      code: undefined,
      outcome: 'none',
      receipt: { coordinator: 'n1', needed: 2 },
    });
    expect(node.coordinator.executed.at(-1)).toMatchObject({
      kind: 'put',
      key: text('k'),
      record,
      level: 'ALL',
      zone: 'zürich',
    });
    const get = new Attempt(text('k'));
    link.send(get);
    expect((await get.answer()).record).toEqual(record);
    const absent = new Attempt(text('absent'));
    link.send(absent);
    expect(await absent.answer()).toMatchObject({ code: undefined, record: undefined });
  });

  test('carries expectations, outcomes asked for, and what became of both', async () => {
    const send = async (attempt: Attempt): Promise<NodeAnswer> => {
      link.send(attempt);
      return attempt.answer();
    };
    const swap = (value: string, id: number, expectation: Expectation): Promise<NodeAnswer> => {
      const record = recordOf('l', value, id);
      return send(
        new Attempt(text('l'), record, EMPTY, {
          level: 'LINEARIZABLE',
          expect: encodeExpectation(expectation),
        }),
      );
    };
    const done = await swap('first', 2_000, { kind: 'absent' });
    expect(done).toMatchObject({ code: undefined, result: ANSWERED.applied });
    const lost = await swap('second', 2_001, { kind: 'value', value: text('other') });
    expect(lost).toMatchObject({ result: ANSWERED.lost, version: done.version });
    expect(decodeRecord(lost.record as Uint8Array)?.value).toEqual(Buffer.from('first'));
    const ask = new Attempt(text('l'), EMPTY, encodeVersion(version(2_000)), {
      kind: 'outcome',
      level: 'LINEARIZABLE',
    });
    expect(await send(ask)).toMatchObject({ result: ANSWERED.applied, version: done.version });
  });

  test('names what shadows a put', async () => {
    const newer = recordOf('s', 'newer', 9);
    node.coordinator.records.set('s', newer);
    const put = new Attempt(text('s'), recordOf('s', 'older', 8));
    link.send(put);
    const { shadow } = await put.answer();
    expect(shadow).toEqual(Buffer.from(headerOf(newer)));
    expect(versionOf(shadow as Uint8Array)).toEqual(version(9));
  });

  test('carries failures with their outcome and receipt', async () => {
    const get = new Attempt(text('k'), EMPTY, encodeVersion(version(6)));
    link.send(get);
    expect(await get.answer()).toMatchObject({ code: 'STALE', outcome: 'none' });
    node.coordinator.hold = true;
    const put = new Attempt(text('k'), recordOf('k', 'v', 7));
    link.send(put);
    await until(() => node.coordinator.held.length > 0);
    const receipt = { coordinator: 'n1', needed: 2, answered: 1, replicas: [] };
    node.coordinator.held
      .splice(0)[0]
      ?.onAnswer({ ...refusedWith('NO_QUORUM', 'too few', 'unknown'), receipt });
    expect(await put.answer()).toMatchObject({
      code: 'NO_QUORUM',
      outcome: 'unknown',
      message: 'too few',
      receipt,
    });
  });

  test('cancels a call by the call itself', async () => {
    node.coordinator.hold = true;
    const put = new Attempt(text('k'), recordOf('k', 'v', 7));
    link.send(put);
    await until(() => node.coordinator.held.length > 0);
    link.cancel(put);
    expect(await put.answer()).toMatchObject({ code: 'CANCELLED', outcome: 'unknown' });
    await until(() => node.coordinator.held.length === 0);
    expect(put.answers.length).toBe(1);
    link.cancel(put);
  });

  test('scans and pings', async () => {
    const entries = [{ key: text('a'), record: recordOf('a', '1', 1) }];
    node.coordinator.page = { kind: 'page', entries, token: text('t') };
    const request = {
      gte: text('a'),
      lt: EMPTY,
      reverse: false,
      limit: 5,
      keysOnly: true,
      token: text('s'),
      level: 'QUORUM' as const,
      zone: '',
      timeoutMs: 5_000,
      traceparent: EMPTY,
    };
    expect(await link.scan(request)).toEqual(node.coordinator.page);
    expect(node.coordinator.scans.at(-1)).toMatchObject({
      gte: text('a'),
      limit: 5,
      keysOnly: true,
      token: text('s'),
      level: 'QUORUM',
    });
    expect(await link.scan(request, AbortSignal.abort())).toMatchObject({
      kind: 'failure',
      code: 'CANCELLED',
      outcome: 'none',
    });
    expect(await link.ping(5_000)).toEqual({
      kind: 'pong',
      wallMs: 1_000,
      quarantined: false,
      placementVersion: 1,
    });
  });

  test('learns that the node stops, and refuses calls without sending them', async () => {
    const stopping = await startFakeNode();
    const seen: LinkState[] = [];
    const other = linker.open(stopping.endpoint, (state) => seen.push(state));
    await until(() => other.welcome !== undefined);
    await stopping.server.close(1_000);
    await until(() => seen.length > 1);
    expect(seen[1]).toMatchObject({ kind: 'closed', code: 'UNAVAILABLE', fatal: false });
    const put = new Attempt(text('k'), recordOf('k', 'v', 7));
    other.send(put);
    expect(await put.answer()).toMatchObject({ code: 'UNAVAILABLE', outcome: 'none' });
    await other.close(0);
  });
});
