import type { Client, ClientDuplexStream, StatusObject } from '@grpc/grpc-js';
import type { KvError } from '../../src/core/errors.js';
import { FrameWriter } from '../../src/wire/frame-writer.js';
import { PROTOCOL_VERSION, v1 } from '../../src/wire/messages.js';
import { asIs, KV_SERVICE, type RawMethod } from '../../src/wire/services.js';
import { fromGrpcStatus } from '../../src/wire/status.js';
import { text, until } from './fake-node.js';

/** A channel of bare bytes. */
export interface RawChannel {
  readonly stream: ClientDuplexStream<Buffer, Buffer>;
  readonly frames: v1.AnswerFrame[];
  readonly answers: v1.Answer[];
  status: StatusObject | undefined;
}

export function openRaw(client: Client, method: RawMethod = KV_SERVICE.channel): RawChannel {
  const stream = client.makeBidiStreamRequest<Buffer, Buffer>(method.path, asIs, asIs);
  const channel: RawChannel = { stream, frames: [], answers: [], status: undefined };
  stream.on('data', (bytes: Buffer) => {
    const frame = v1.AnswerFrame.decode(bytes);
    channel.frames.push(frame);
    channel.answers.push(...(frame.answers as v1.Answer[]));
  });
  stream.on('error', () => {});
  stream.on('status', (status: StatusObject) => {
    channel.status = status;
  });
  return channel;
}

export const HELLO: v1.Hello.$Properties = { protocol: PROTOCOL_VERSION };

export function greet(channel: RawChannel, hello: v1.Hello.$Properties = HELLO): void {
  channel.stream.write(new FrameWriter().hello(hello).finish());
}

export function send(channel: RawChannel, ...calls: v1.Call.$Properties[]): void {
  const frame = new FrameWriter();
  for (const call of calls) frame.call(call);
  channel.stream.write(frame.finish());
}

export async function endOf(channel: RawChannel): Promise<KvError> {
  await until(() => channel.status !== undefined);
  return fromGrpcStatus(channel.status as StatusObject, 'the node', 'unknown');
}

export const GET = { kind: v1.CallKind.CALL_GET, key: text('k'), timeoutMs: 5_000 };
