import { createServer, type AddressInfo } from 'node:net';
import { queryObjects } from 'node:v8';
import { afterEach, describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/core/errors.js';
import { DEFAULT_LIMITS, FRAME_CUT_BYTES } from '../../src/core/limits.js';
import { systemClock } from '../../src/io/clock.js';
import type { LinkState } from '../../src/io/link.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers, type Timers } from '../../src/io/timers.js';
import { ChannelClient, type ChannelClientOptions } from '../../src/wire/channel-client.js';
import { PROTOCOL_VERSION, v1 } from '../../src/wire/messages.js';
import { OutgoingCall } from '../../src/wire/outgoing-call.js';
import { KV_SERVICE } from '../../src/wire/services.js';
import { text, until } from './fake-node.js';
import { startRawServer, type RawServer, type RawServerOptions } from './raw-server.js';

class TestCall extends OutgoingCall {
  answer: v1.Answer | undefined;
  failure:
    { readonly code: ErrorCode; readonly message: string; readonly sent: boolean } | undefined;
  settlements = 0;

  constructor(
    readonly key: Uint8Array = text('k'),
    timeoutMs = 10_000,
  ) {
    super(systemClock.monotonicMs() + timeoutMs, key.length);
  }

  get settled(): boolean {
    return this.settlements > 0;
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    return { id, kind: v1.CallKind.CALL_GET, timeoutMs, key: this.key };
  }

  answered(answer: v1.Answer): void {
    this.settlements++;
    this.answer = answer;
  }

  failed(code: ErrorCode, message: string, sent: boolean): void {
    this.settlements++;
    this.failure = { code, message, sent };
  }
}

interface Opened {
  readonly channel: ChannelClient;
  readonly server: RawServer;
  readonly states: LinkState[];
}

const closers: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function connect(
  endpoint: string,
  options: Partial<ChannelClientOptions> = {},
): { channel: ChannelClient; states: LinkState[] } {
  const states: LinkState[] = [];
  const channel = new ChannelClient({
    endpoint,
    path: KV_SERVICE.channel.path,
    hello: { protocol: PROTOCOL_VERSION },
    onState: (state) => states.push(state),
    retryRefused: false,
    limits: DEFAULT_LIMITS,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    ...options,
  });
  closers.unshift(() => channel.close(0));
  return { channel, states };
}

async function open(
  serverOptions: RawServerOptions = {},
  options: Partial<ChannelClientOptions> = {},
): Promise<Opened> {
  const server = await startRawServer(serverOptions);
  closers.push(() => server.close());
  const { channel, states } = connect(server.endpoint, options);
  await until(() => channel.open);
  return { channel, server, states };
}

function sendAll(channel: ChannelClient, count: number, make = () => new TestCall()): TestCall[] {
  const calls = Array.from({ length: count }, make);
  for (const call of calls) channel.send(call);
  return calls;
}

const allSettled = (calls: readonly TestCall[]) => () => calls.every((call) => call.settled);

describe('calls on a channel', () => {
  test('what is ready in one turn travels in one frame', async () => {
    const { channel, server } = await open({ echo: true });
    const calls = sendAll(channel, 100);
    await until(allSettled(calls));
    expect(calls.every((call) => call.answer !== undefined)).toBe(true);
    // The greeting, and one frame for all.
    expect(server.frames.length).toBe(2);
  });

  test('answers return in any order, each to its own call', async () => {
    const { channel, server } = await open();
    const calls = sendAll(channel, 10, () => new TestCall());
    await until(() => server.calls().length === 10);
    const ids = server.calls().map((call) => call.id);
    server.answer(...ids.toReversed().map((id) => ({ id, message: `answer to ${id}` })));
    await until(allSettled(calls));
    expect(calls.map((call) => call.answer?.message)).toEqual(ids.map((id) => `answer to ${id}`));
  });

  test('nothing settles within send, and everything settles once', async () => {
    const { channel } = await open({ echo: true }, { bounds: { calls: 2, bytes: 1_000 } });
    const calls = sendAll(channel, 3);
    expect(calls.map((call) => call.settlements)).toEqual([0, 0, 0]);
    await until(allSettled(calls));
    expect(calls.map((call) => call.settlements)).toEqual([1, 1, 1]);
    expect(calls[2]?.failure).toMatchObject({ code: 'OVERLOADED', sent: false });
  });

  test('bytes under way are bounded, and one large call passes all the same', async () => {
    const { channel } = await open({ echo: true }, { bounds: { calls: 100, bytes: 10_000 } });
    const large = new TestCall(new Uint8Array(50_000));
    const small = new TestCall();
    channel.send(large);
    channel.send(small);
    await until(allSettled([large, small]));
    expect(large.answer).toBeDefined();
    expect(small.failure).toMatchObject({ code: 'OVERLOADED', sent: false });
  });

  test('frames are cut by bytes, larger only for a single large record', async () => {
    const { channel, server } = await open({ echo: true });
    const sizes = [100_000, 100_000, 100_000, 1_048_576, 10, 200_000, 100_000];
    const calls = sizes.map((size) => new TestCall(new Uint8Array(size)));
    for (const call of calls) channel.send(call);
    await until(allSettled(calls));
    const perFrame = server.frames
      .slice(1)
      .map((frame) => frame.calls.map((call) => call.key?.length ?? 0));
    expect(perFrame.flat()).toEqual(sizes);
    for (const keys of perFrame) {
      const bytes = keys.reduce((sum, size) => sum + size, 0);
      expect(bytes <= FRAME_CUT_BYTES || keys.length === 1).toBe(true);
    }
  });

  test('a call past its deadline fails as sent, and a late answer is nothing', async () => {
    const { channel, server } = await open();
    const late = new TestCall(text('k'), 30);
    const patient = new TestCall();
    channel.send(late);
    channel.send(patient);
    await until(() => late.settled);
    expect(late.failure).toMatchObject({ code: 'TIMED_OUT', sent: true });
    const [first, second] = server.calls().map((call) => call.id);
    server.answer({ id: first ?? 0 }, { id: second ?? 0 });
    await until(() => patient.settled);
    expect(late.settlements).toBe(1);
    expect(channel.inFlight).toBe(0);
  });

  test('the remaining time travels with the call', async () => {
    const { channel, server } = await open({ echo: true });
    const call = new TestCall(text('k'), 2_000);
    channel.send(call);
    await until(() => call.settled);
    const sentMs = server.calls()[0]?.timeoutMs ?? 0;
    expect(sentMs).toBeLessThanOrEqual(2_000);
    expect(sentMs).toBeGreaterThan(1_000);
  });

  test('a cancelled call is told to the other side when it was sent, and is not sent when it was not', async () => {
    const { channel, server } = await open();
    const sent = new TestCall();
    channel.send(sent);
    await until(() => server.calls().length === 1);
    const unsent = new TestCall(text('never'));
    channel.send(unsent);
    channel.cancel(sent);
    channel.cancel(unsent);
    await until(allSettled([sent, unsent]));
    expect(sent.failure).toMatchObject({ code: 'CANCELLED', sent: true });
    expect(unsent.failure).toMatchObject({ code: 'CANCELLED', sent: false });
    await until(() => server.frames.some((frame) => frame.cancelled.length > 0));
    expect(server.frames.flatMap((frame) => frame.cancelled)).toEqual([server.calls()[0]?.id]);
    expect(server.calls().length).toBe(1);
    channel.cancel(sent);
    expect(sent.settlements).toBe(1);
  });
});

describe('a stream that pushes back', () => {
  test('holds what it does not take, and says of it that it was not sent when the channel breaks', async () => {
    const { channel, server } = await open();
    const stream = server.streams[0];
    stream?.pause();
    // 64 MiB: more than the windows of HTTP/2, the stream and our own bound let through together.
    const calls = sendAll(channel, 60, () => new TestCall(new Uint8Array(1_000_000)));
    await until(() => calls.filter((call) => call.written).length >= 1);
    stream?.emit('error', { code: 14, details: 'broken on purpose' });
    await until(allSettled(calls));
    const unsent = calls.filter((call) => call.failure?.sent === false);
    const sent = calls.filter((call) => call.failure?.sent === true);
    expect(sent.length).toBeGreaterThan(0);
    expect(unsent.length).toBeGreaterThan(0);
    expect(sent.length + unsent.length).toBe(calls.length);
    expect(calls.every((call) => call.failure?.code === 'UNAVAILABLE')).toBe(true);
  });

  test('goes on when it drains', async () => {
    const { channel, server } = await open({ echo: true });
    server.streams[0]?.pause();
    const calls = sendAll(channel, 20, () => new TestCall(new Uint8Array(500_000)));
    await until(() => calls.some((call) => call.written));
    server.streams[0]?.resume();
    await until(allSettled(calls));
    expect(calls.every((call) => call.answer !== undefined)).toBe(true);
  });
});

describe('calls that fail while a stream pushes back', () => {
  test('are not kept until it drains', async () => {
    const { channel, server } = await open();
    server.streams[0]?.pause();
    const large = sendAll(channel, 60, () => new TestCall(new Uint8Array(1_000_000)));
    await until(() => large.some(({ written }) => written));
    let settled = 0;
    class Countable extends TestCall {
      override failed(): void {
        settled++;
      }
    }
    const waves = 30;
    for (let wave = 1; wave <= waves; wave++) {
      for (let i = 0; i < 500; i++) channel.send(new Countable(text('k'), 1));
      await until(() => settled === wave * 500);
    }
    const kept = queryObjects(Countable, { format: 'count' });
    expect(kept).toBeLessThan(3_000);
  });
});

describe('a channel that breaks', () => {
  test('answers every sent call as in doubt, says so, and connects anew', async () => {
    const { channel, server, states } = await open();
    const calls = sendAll(channel, 5);
    await until(() => server.calls().length === 5);
    server.streams[0]?.emit('error', { code: 14, details: 'broken on purpose' });
    await until(allSettled(calls));
    expect(calls.every((call) => call.failure?.sent === true)).toBe(true);
    expect(states.at(1)).toMatchObject({ kind: 'closed', code: 'UNAVAILABLE', fatal: false });
    await until(() => channel.open);
    const again = new TestCall();
    channel.send(again);
    await until(() => server.calls().length === 6);
    server.answer({ id: server.calls()[5]?.id ?? 0 });
    await until(() => again.settled);
    expect(again.answer).toBeDefined();
  });

  test('a call while it is not open was not sent', async () => {
    const { channel } = connect('127.0.0.1:1');
    const early = new TestCall();
    channel.send(early);
    await until(() => early.settled);
    expect(early.failure).toMatchObject({ code: 'UNAVAILABLE', sent: false });
  });

  test('a node that is not there is reported and tried again until it is', async () => {
    const placeholder = await startRawServer();
    const { endpoint } = placeholder;
    placeholder.close();
    const { channel, states } = connect(endpoint);
    await until(() => states.length > 0);
    expect(states[0]).toMatchObject({ kind: 'closed', code: 'UNAVAILABLE', fatal: false });
    const server = await startRawServer({ listen: endpoint });
    closers.push(() => server.close());
    await until(() => channel.open);
  });

  test('a node that accepts and says nothing is given up, and tried again', async () => {
    const server = await startRawServer({ silent: true });
    closers.push(() => server.close());
    // The patience of seconds is made one of milliseconds; the sweep and the retry are as they are.
    const timers: Timers = {
      ...systemTimers,
      after: (delayMs, action) => systemTimers.after(delayMs > 2_000 ? 50 : delayMs, action),
    };
    const { states } = connect(server.endpoint, { timers });
    await until(() => states.length > 1);
    expect(states[0]).toMatchObject({ kind: 'closed', code: 'UNAVAILABLE', fatal: false });
    expect(server.streams.length).toBeGreaterThan(1);
  });

  test('each attempt to reach a node that is stopped gives its socket back', async () => {
    // As a stopped process does: connections are taken, nothing is said, and none is ever ended from this side.
    let gone = 0;
    const stopped = createServer({ allowHalfOpen: true }, (socket) => {
      socket.resume();
      socket.on('error', () => {});
      socket.on('close', () => gone++);
      // A socket that is only half closed takes this for ever; one that is destroyed answers with a reset.
      const poke = (): void => {
        if (!socket.destroyed) socket.write('anyone there?', () => setImmediate(poke));
      };
      socket.on('end', poke);
    });
    await new Promise<void>((resolve) => stopped.listen(0, '127.0.0.1', resolve));
    closers.push(() => void stopped.close());
    const timers: Timers = {
      ...systemTimers,
      after: (delayMs, action) => systemTimers.after(delayMs > 2_000 ? 30 : delayMs, action),
    };
    connect(`127.0.0.1:${(stopped.address() as AddressInfo).port}`, { timers });
    await until(() => gone >= 3);
  });

  test('a node of another protocol is fatal', async () => {
    const server = await startRawServer({ protocol: PROTOCOL_VERSION + 1 });
    closers.push(() => server.close());
    const { states } = connect(server.endpoint);
    await until(() => states.length > 0);
    expect(states[0]).toMatchObject({ kind: 'closed', code: 'INCOMPATIBLE', fatal: true });
  });

  test('a frame that is no message breaks it', async () => {
    const { channel, server, states } = await open();
    const call = new TestCall();
    channel.send(call);
    await until(() => server.calls().length === 1);
    server.streams[0]?.write(Buffer.from([0x12, 0xff, 0xff]));
    await until(() => call.settled);
    expect(call.failure).toMatchObject({ code: 'UNAVAILABLE', sent: true });
    expect(states.at(1)).toMatchObject({ kind: 'closed' });
  });

  test('closing waits for what is under way, and fails what comes after', async () => {
    const { channel, server } = await open();
    const call = new TestCall();
    channel.send(call);
    await until(() => server.calls().length === 1);
    const closing = channel.close(5_000);
    const late = new TestCall();
    channel.send(late);
    await until(() => late.settled);
    expect(late.failure).toMatchObject({ code: 'UNAVAILABLE', sent: false });
    expect(call.settled).toBe(false);
    server.answer({ id: server.calls()[0]?.id ?? 0 });
    await closing;
    expect(call.answer).toBeDefined();
  });
});
