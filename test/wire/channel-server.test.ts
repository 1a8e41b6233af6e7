import { connect } from 'node:http2';
import {
  Client,
  credentials,
  loadPackageDefinition,
  type ClientDuplexStream,
  type GrpcObject,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ChannelStream } from '../../src/wire/channel-server.js';
import { FrameWriter } from '../../src/wire/frame-writer.js';
import { helloOfNode } from '../../src/wire/greeting.js';
import { v1 } from '../../src/wire/messages.js';
import { widenReceiveWindow } from '../../src/wire/receive-window.js';
import { KV_SERVICE, PEER_SERVICE, type RawMethod } from '../../src/wire/services.js';
import { codeFromWire } from '../../src/wire/status.js';
import {
  MEMBERS,
  recordOf,
  startFakeNode,
  text,
  until,
  welcomeOf,
  type FakeNode,
} from './fake-node.js';
import { endOf, GET, greet, openRaw, send } from './raw-client.js';

let node: FakeNode;
let client: Client;

beforeAll(async () => {
  node = await startFakeNode();
  client = new Client(node.endpoint, credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await node.server.close(500);
});

beforeEach(() => {
  node.coordinator.hold = false;
  node.coordinator.held.length = 0;
});

describe('a channel of a node', () => {
  test('lets a mebibyte come before whoever sends must wait, in a stream and in all of a connection', async () => {
    const mebibyte = 1024 * 1024;
    const session = connect(`http://${node.endpoint}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': KV_SERVICE.channel.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    await until(() => session.remoteSettings.initialWindowSize === mebibyte);
    await until(() => (session.state.remoteWindowSize ?? 0) >= mebibyte);
    expect(stream.destroyed).toBe(false);
    session.destroy();
  });

  test('outlives a stream that is gone before it is taken, which has no connection any more', () => {
    const gone = { call: { stream: { session: undefined } } } as unknown as ChannelStream;
    expect(() => widenReceiveWindow(gone)).not.toThrow();
  });

  test('greets, and answers calls gathered', async () => {
    node.coordinator.records.set('k', recordOf('k', 'v', 3));
    const channel = openRaw(client);
    greet(channel);
    await until(() => channel.frames.length === 1);
    expect(channel.frames[0]?.welcome).toMatchObject({ nodeId: 'n1', clusterName: 'test' });
    send(channel, ...Array.from({ length: 50 }, (_, i) => ({ ...GET, id: i + 1 })));
    await until(() => channel.answers.length === 50);
    expect(channel.frames.length).toBe(2);
    expect(
      channel.answers.every(
        ({ code, record }) => codeFromWire(code) === undefined && record.length > 25,
      ),
    ).toBe(true);
    channel.stream.end();
    await until(() => channel.status !== undefined);
    expect(channel.status?.code).toBe(0);
  });

  test('answers what was asked before the client ended its side', async () => {
    node.coordinator.hold = true;
    const channel = openRaw(client);
    greet(channel);
    send(channel, { ...GET, id: 1 });
    channel.stream.end();
    await until(() => node.coordinator.held.length === 1);
    expect(channel.status).toBeUndefined();
    node.coordinator.release();
    await until(() => channel.status !== undefined);
    expect(channel.status?.code).toBe(0);
    expect(channel.answers.length).toBe(1);
  });

  test('cancels what nobody waits for', async () => {
    node.coordinator.hold = true;
    const before = node.coordinator.cancelled.length;
    const channel = openRaw(client);
    greet(channel);
    send(channel, { ...GET, id: 1 }, { ...GET, id: 2 });
    await until(() => node.coordinator.held.length === 2);
    const frame = new FrameWriter();
    frame.cancelled([1, 99]);
    channel.stream.write(frame.finish());
    await until(() => channel.answers.length === 1);
    expect(codeFromWire(channel.answers[0]?.code ?? 0)).toBe('CANCELLED');
    channel.stream.cancel();
    await until(() => node.coordinator.cancelled.length === before + 2);
  });

  test('refuses single calls without harm to others', async () => {
    const channel = openRaw(client);
    greet(channel);
    const bad: v1.Call.$Properties[] = [
      { id: 1, kind: 77 as v1.CallKind },
      { id: 2, kind: v1.CallKind.CALL_APPLY },
      { ...GET, id: 3, consistency: 42 as v1.Consistency },
      { ...GET, id: 4, version: text('short') },
      { ...GET, id: 5, traceparent: text('short') },
      { ...GET, id: 6, timeoutMs: 4_000_000_000 },
      { id: 7, kind: v1.CallKind.CALL_SCAN, body: text('\u00ff') },
      { id: 8, kind: v1.CallKind.CALL_SCAN, body: v1.RangeRequest.encode({ limit: 0 }).finish() },
      { ...GET, id: 9 },
    ];
    send(channel, ...bad);
    await until(() => channel.answers.length === bad.length);
    const byId = [...channel.answers].sort((a, b) => a.id - b.id);
    expect(byId.map(({ code }) => codeFromWire(code) ?? 'done')).toEqual([
      'NOT_SUPPORTED',
      'NOT_SUPPORTED',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'done',
    ]);
    expect(byId.map(({ message }) => message.split(':')[0])).toEqual([
      'kind',
      'kind',
      'consistency',
      'version',
      'traceparent',
      'timeout_ms',
      'request',
      'limit',
      '',
    ]);
    channel.stream.cancel();
  });

  test('takes no more than it can hold, and goes on when some of it is answered', async () => {
    node.coordinator.hold = true;
    const before = node.coordinator.executed.length;
    const channel = openRaw(client);
    greet(channel);
    const count = 20_000;
    const frameOf = 1_000;
    for (let first = 1; first <= count; first += frameOf) {
      send(channel, ...Array.from({ length: frameOf }, (_, i) => ({ ...GET, id: first + i })));
    }
    await until(() => node.coordinator.held.length >= 8_192);
    // The pause takes effect at the end of a frame; some more are in flow already.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    const held = node.coordinator.held.length;
    expect(held).toBeLessThan(count);
    while (channel.answers.length < count) {
      node.coordinator.release();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(node.coordinator.executed.length - before).toBe(count);
    channel.stream.cancel();
  });
});

describe('answers that nobody reads', () => {
  test('are held up to a bound, those of one turn included; beyond it reads are refused', async () => {
    node.coordinator.records.set('large', recordOf('large', 'x'.repeat(1_048_576), 3));
    node.coordinator.hold = true;
    const channel = openRaw(client);
    greet(channel);
    const calls = Array.from({ length: 100 }, (_, i) => ({
      ...GET,
      key: text('large'),
      id: i + 1,
    }));
    send(channel, ...calls);
    await until(() => node.coordinator.held.length === 100);
    node.coordinator.release();
    await until(() => channel.answers.length === 100);
    const refused = channel.answers.filter(({ code }) => codeFromWire(code) === 'OVERLOADED');
    expect(channel.answers.length - refused.length).toBe(64);
    expect(refused.every(({ outcome }) => outcome === v1.Outcome.NONE)).toBe(true);
    channel.stream.cancel();
  });
});

describe('a defect in one call', () => {
  test('is answered as INTERNAL and in doubt, and the channel goes on', async () => {
    const { coordinator } = node;
    const channel = openRaw(client);
    greet(channel);
    const broken = vi.spyOn(coordinator, 'execute').mockImplementationOnce(() => {
      throw new Error('a bug');
    });
    send(channel, { ...GET, id: 1 }, { ...GET, id: 2 });
    await until(() => channel.answers.length === 2);
    broken.mockRestore();
    expect(channel.answers.map(({ code }) => codeFromWire(code))).toEqual(['INTERNAL', undefined]);
    expect(channel.answers[0]).toMatchObject({ outcome: v1.Outcome.UNKNOWN });
    channel.stream.cancel();
  });
});

describe('a greeting', () => {
  const facts = welcomeOf();

  test('must be the first frame, and only that', async () => {
    const silent = openRaw(client);
    send(silent, { ...GET, id: 1 });
    expect(await endOf(silent)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect((await endOf(silent)).message).toMatch(/^hello: /);
    const twice = openRaw(client);
    greet(twice);
    greet(twice);
    expect(await endOf(twice)).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('of another protocol is refused', async () => {
    const channel = openRaw(client);
    greet(channel, { protocol: 99 });
    const error = await endOf(channel);
    expect(error).toMatchObject({ code: 'INCOMPATIBLE', node: 'n1', outcome: 'none' });
    expect(error.message).toMatch(/speaks protocol 2, the client speaks 99/);
  });

  test('of another cluster is refused, saying what differs', async () => {
    const other = { ...facts, clusterName: 'other', clusterId: 'x', replicationFactor: 3 };
    const channel = openRaw(client, PEER_SERVICE.channel);
    greet(channel, helloOfNode('n2', { ...other, members: MEMBERS.slice(0, 1) }));
    const error = await endOf(channel);
    expect(error.code).toBe('WRONG_CLUSTER');
    expect(error.message).toBe(
      'node n1 belongs to cluster "test", node n2 to "other": the names differ ("test" here); ' +
        'the members differ (n1/z1, n2/z2 here, n1/z1 there); the replication factors differ (2 here, 3 there)',
    );
    expect(channel.status?.code).toBe(9);
  });

  test('on the channel of nodes is for its members, each by its own id', async () => {
    for (const [nodeId, message] of [
      ['', /a client is no member/],
      ['n7', /node n7 is no member/],
      ['n1', /calls itself n1 too/],
    ] as const) {
      const channel = openRaw(client, PEER_SERVICE.channel);
      greet(channel, helloOfNode(nodeId, facts));
      const error = await endOf(channel);
      expect(error.code).toBe('WRONG_CLUSTER');
      expect(error.message).toMatch(message);
    }
  });
});

describe('a server that stops', () => {
  test('answers what is under way, refuses what comes after, and ends its channels', async () => {
    const stopping = await startFakeNode();
    const own = new Client(stopping.endpoint, credentials.createInsecure());
    stopping.coordinator.hold = true;
    const channel = openRaw(own);
    greet(channel);
    send(channel, { ...GET, id: 1 });
    await until(() => stopping.coordinator.held.length === 1);
    const closed = stopping.server.close(5_000);
    await until(() => channel.frames.some((frame) => frame.closing));
    send(channel, { ...GET, id: 2 });
    await until(() => channel.answers.length === 1);
    expect(channel.answers[0]).toMatchObject({ id: 2, outcome: v1.Outcome.NONE });
    expect(codeFromWire(channel.answers[0]?.code ?? 0)).toBe('UNAVAILABLE');
    stopping.coordinator.release();
    await until(() => channel.status !== undefined);
    expect(channel.status?.code).toBe(0);
    expect(channel.answers.map(({ id }) => id)).toEqual([2, 1]);
    own.close();
    await closed;
  });

  test('cuts what does not end within its grace', async () => {
    const stopping = await startFakeNode();
    const own = new Client(stopping.endpoint, credentials.createInsecure());
    stopping.coordinator.hold = true;
    const channel = openRaw(own);
    greet(channel);
    send(channel, { ...GET, id: 1 });
    await until(() => stopping.coordinator.held.length === 1);
    await stopping.server.close(20);
    await until(() => channel.status !== undefined);
    expect(channel.status?.code).not.toBe(0);
    own.close();
  });
});

describe('what tools expect of any gRPC server', () => {
  test('health can be watched', async () => {
    const { Watch } = healthService as unknown as Record<string, RawMethod>;
    const seen: unknown[] = [];
    const watch = client.makeServerStreamRequest(
      Watch?.path ?? '',
      (Watch as never as { requestSerialize: (value: object) => Buffer }).requestSerialize,
      (Watch as never as { responseDeserialize: (bytes: Buffer) => object }).responseDeserialize,
      { service: 'quorate.v1.Peer' },
    );
    watch.on('data', (answer: unknown) => seen.push(answer));
    watch.on('error', () => {});
    await until(() => seen.length === 1);
    node.server.setServing('quorate.v1.Peer', false);
    await until(() => seen.length === 2);
    node.server.setServing('quorate.v1.Peer', true);
    expect(seen).toMatchObject([{ status: 'SERVING' }, { status: 'NOT_SERVING' }]);
    watch.cancel();
  });

  test('reflection lists the services and describes a message', async () => {
    const definition = loadSync('grpc/reflection/v1/reflection.proto', {
      includeDirs: ['node_modules/@grpc/reflection/build/proto'],
    });
    const loaded = loadPackageDefinition(definition) as unknown as {
      grpc: { reflection: { v1: { ServerReflection: new (...args: unknown[]) => Client } } };
    };
    const { ServerReflection } = loaded.grpc.reflection.v1;
    const reflection = new ServerReflection(node.endpoint, credentials.createInsecure());
    const stream = (
      reflection as unknown as { serverReflectionInfo(): ClientDuplexStream<object, GrpcObject> }
    ).serverReflectionInfo();
    const answers: GrpcObject[] = [];
    stream.on('data', (answer: GrpcObject) => answers.push(answer));
    stream.on('error', () => {});
    stream.write({ listServices: '' });
    stream.write({ fileContainingSymbol: 'quorate.v1.PutRequest' });
    await until(() => answers.length === 2);
    const services = JSON.stringify(answers[0]);
    for (const service of [
      'quorate.v1.Kv',
      'quorate.v1.Peer',
      'quorate.v1.Cluster',
      'grpc.health.v1.Health',
    ]) {
      expect(services).toContain(`"${service}"`);
    }
    const described = answers[1] as unknown as {
      fileDescriptorResponse: { fileDescriptorProto: Buffer[] };
    };
    const files = described.fileDescriptorResponse.fileDescriptorProto;
    expect(Buffer.concat(files.map((file) => Buffer.from(file))).toString('latin1')).toContain(
      'PutRequest',
    );
    stream.end();
    reflection.close();
  });
});
