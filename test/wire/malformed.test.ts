import { Client, credentials } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FrameWriter } from '../../src/wire/frame-writer.js';
import { v1 } from '../../src/wire/messages.js';
import { asIs, KV_SERVICE } from '../../src/wire/services.js';
import { fromGrpcStatus } from '../../src/wire/status.js';
import { openUnaryClient } from '../../src/wire/unary-client.js';
import { recordOf, startFakeNode, text, type FakeNode } from './fake-node.js';
import { endOf, GET, greet, HELLO, openRaw, send } from './raw-client.js';

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

async function stillServes(): Promise<void> {
  const probe = openUnaryClient(node.endpoint, { timeoutMs: 5_000 });
  expect(await probe.health('quorate.v1.Kv')).toBe('SERVING');
  await probe.get(text('k'));
  probe.close();
}

describe('malformed input', () => {
  const greeting = new FrameWriter().hello(HELLO).finish();

  test('random frames end at most their own channel', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 3 }),
        async (greeted, frames) => {
          const channel = openRaw(client);
          if (greeted) channel.stream.write(greeting);
          for (const frame of frames) channel.stream.write(Buffer.from(frame));
          channel.stream.end();
          const error = await endOf(channel);
          expect([0, 3, 9]).toContain(channel.status?.code);
          expect(error.code).not.toBe('TIMED_OUT');
        },
      ),
      { numRuns: 60, seed: 7 },
    );
    await stillServes();
  });

  test('truncated and altered frames of real calls end at most their own channel', async () => {
    const writer = new FrameWriter();
    writer.call({ ...GET, id: 1, record: recordOf('k', 'value', 5), zone: 'z', timeoutMs: 50 });
    writer.call({ id: 2, kind: v1.CallKind.CALL_SCAN, body: text('body') });
    const real = writer.finish();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(real.length),
        fc.nat(real.length - 1),
        fc.integer({ min: 0, max: 255 }),
        async (length, at, byte) => {
          const bytes = Buffer.from(real);
          bytes[at] = byte;
          const channel = openRaw(client);
          channel.stream.write(greeting);
          channel.stream.write(bytes.subarray(0, length));
          channel.stream.end();
          await endOf(channel);
          expect([0, 3]).toContain(channel.status?.code);
        },
      ),
      { numRuns: 60, seed: 8 },
    );
    await stillServes();
  });

  test('a frame beyond the limit ends its channel and nothing else', async () => {
    const channel = openRaw(client);
    channel.stream.write(greeting);
    channel.stream.write(Buffer.alloc(5 * 1024 * 1024));
    await endOf(channel);
    expect(channel.status?.code).toBe(8);
    await stillServes();
  });

  test('an id that is under way already, or 0, ends the channel', async () => {
    node.coordinator.hold = true;
    const twice = openRaw(client);
    greet(twice);
    send(twice, { ...GET, id: 5 }, { ...GET, id: 5 });
    expect((await endOf(twice)).message).toMatch(/^calls.id: 5 is under way/);
    const zero = openRaw(client);
    greet(zero);
    send(zero, { ...GET });
    expect((await endOf(zero)).message).toMatch(/^calls.id: must not be 0/);
  });

  test('a unary request that is no message names what it should be', async () => {
    const { path } = KV_SERVICE.get;
    const answer = new Promise<unknown>((resolve) => {
      client.makeUnaryRequest(path, asIs, asIs, Buffer.from([0x0a, 0xff]), (error) =>
        resolve(error),
      );
    });
    const error = fromGrpcStatus((await answer) as never, node.endpoint, 'none');
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(/quorate.v1.GetRequest/);
  });
});
