import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { FrameWriter } from '../../src/wire/frame-writer.js';
import { PROTOCOL_VERSION, v1 } from '../../src/wire/messages.js';
import { KV_SERVICE, PEER_SERVICE } from '../../src/wire/services.js';

export type RawStream = ServerDuplexStream<Buffer, Buffer>;

const unused = (): void => {};

/** A server of bare frames: what it answers, and when, is the test's to say. */
export interface RawServer {
  readonly endpoint: string;
  /** Every frame that came, of all channels. */
  readonly frames: v1.CallFrame[];
  readonly streams: RawStream[];
  calls(): v1.Call[];
  /** Sends one frame of answers on the newest channel. */
  answer(...answers: v1.Answer.$Properties[]): void;
  close(): void;
}

export interface RawServerOptions {
  readonly protocol?: number;
  /** Every call is answered with code 0 at once. */
  readonly echo?: boolean;
  /** Not greeted, not read: a server that hangs. */
  readonly silent?: boolean;
  readonly listen?: string;
}

export async function startRawServer(options: RawServerOptions = {}): Promise<RawServer> {
  const frames: v1.CallFrame[] = [];
  const streams: RawStream[] = [];
  const server = new Server();
  const channel = (stream: RawStream): void => {
    streams.push(stream);
    stream.on('error', () => {});
    stream.on('end', () => stream.end());
    if (options.silent === true) return;
    stream.on('data', (bytes: Buffer) => {
      const frame = v1.CallFrame.decode(bytes);
      frames.push(frame);
      const answer = new FrameWriter();
      if (frame.hello) {
        answer.welcome({ protocol: options.protocol ?? PROTOCOL_VERSION, nodeId: 'n1' });
      }
      if (options.echo === true)
        for (const call of frame.calls) answer.answer({ id: call.id ?? 0 });
      if (!answer.empty) stream.write(answer.finish());
    });
  };
  const { get, put, delete: remove, batch, scan } = KV_SERVICE;
  server.addService(
    { get, put, delete: remove, batch, scan, channel: KV_SERVICE.channel },
    { get: unused, put: unused, delete: unused, batch: unused, scan: unused, channel },
  );
  server.addService(PEER_SERVICE, { channel });
  const port = await new Promise<number>((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    server.bindAsync(options.listen ?? '127.0.0.1:0', credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return {
    endpoint: `127.0.0.1:${port}`,
    frames,
    streams,
    calls: () => frames.flatMap((frame) => frame.calls as v1.Call[]),
    answer(...answers) {
      const frame = new FrameWriter();
      for (const answer of answers) frame.answer(answer);
      streams.at(-1)?.write(frame.finish());
    },
    close: () => server.forceShutdown(),
  };
}
