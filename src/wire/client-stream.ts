import {
  Client,
  status as grpcStatus,
  type ClientDuplexStream,
  type StatusObject,
} from '@grpc/grpc-js';
import { KvError } from '../core/errors.js';
import type { Limits } from '../core/limits.js';
import { CuttableCredentials } from './cuttable-credentials.js';
import type { FrameWriter } from './frame-writer.js';
import { clientOptions } from './grpc-options.js';
import { v1 } from './messages.js';
import { asIs } from './services.js';
import { fromGrpcStatus } from './status.js';

/** gRPC holds what it cannot write; beyond this much we hold it ourselves, where it can still be said not to be sent. */
const MAX_UNWRITTEN_BYTES = 1024 * 1024;

export interface ClientStreamOptions {
  /** `host:port`. */
  readonly endpoint: string;
  /** The gRPC path of the channel. */
  readonly path: string;
  readonly limits: Limits;
  readonly listener: ClientStreamListener;
}

export interface ClientStreamListener {
  onFrame(frame: v1.AnswerFrame): void;
  /** It takes frames again, after it had pushed back. */
  onWritable(): void;
  /** It is over. Nothing follows. */
  onEnd(why: KvError): void;
}

/** One stream of frames over one connection of its own. It does not outlive either. */
export class ClientStream {
  readonly #endpoint: string;
  readonly #listener: ClientStreamListener;
  readonly #credentials = new CuttableCredentials();
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  #unwrittenBytes = 0;
  #pushedBack = false;
  #over = false;

  constructor(options: ClientStreamOptions) {
    const { endpoint, path, limits, listener } = options;
    this.#endpoint = endpoint;
    this.#listener = listener;
    this.#client = new Client(endpoint, this.#credentials, clientOptions(limits));
    this.#stream = this.#client.makeBidiStreamRequest<Buffer, Buffer>(path, asIs, asIs);
    this.#stream.on('data', (bytes: Buffer) => this.#onData(bytes));
    this.#stream.on('drain', () => this.#settleFlow());
    // Every error comes as a status as well.
    this.#stream.on('error', () => {});
    this.#stream.on('status', (status: StatusObject) => this.#end(this.#reasonOf(status)));
  }

  /** It holds as much as it should: what is written now would only wait. */
  get pushedBack(): boolean {
    return this.#pushedBack;
  }

  /** `onWritten` follows when the frame has left for the network. */
  write(frame: FrameWriter, onWritten?: () => void): void {
    const bytes = frame.finish();
    this.#unwrittenBytes += bytes.length;
    this.#stream.write(bytes, () => {
      this.#unwrittenBytes -= bytes.length;
      onWritten?.();
      if (this.#pushedBack) this.#settleFlow();
    });
    this.#pushedBack = this.#stream.writableNeedDrain || this.#unwrittenBytes > MAX_UNWRITTEN_BYTES;
  }

  /** Ends it from this side; the listener hears no more. */
  cancel(): void {
    this.#over = true;
    this.#stream.cancel();
    this.#client.close();
    this.#credentials.cut();
  }

  #settleFlow(): void {
    if (!this.#pushedBack || this.#over) return;
    if (this.#stream.writableNeedDrain || this.#unwrittenBytes > MAX_UNWRITTEN_BYTES / 2) return;
    this.#pushedBack = false;
    this.#listener.onWritable();
  }

  #onData(bytes: Buffer): void {
    if (this.#over) return;
    let frame: v1.AnswerFrame;
    try {
      frame = v1.AnswerFrame.decode(bytes);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#end(this.#failure(`sent a malformed frame (${reason})`));
      return;
    }
    this.#listener.onFrame(frame);
  }

  #end(why: KvError): void {
    if (this.#over) return;
    this.cancel();
    this.#listener.onEnd(why);
  }

  #reasonOf(status: StatusObject): KvError {
    return status.code === grpcStatus.OK
      ? this.#failure('ended the channel')
      : fromGrpcStatus(status, this.#endpoint, 'unknown');
  }

  #failure(what: string): KvError {
    const node = this.#endpoint;
    return new KvError('UNAVAILABLE', `${node} ${what}`, { outcome: 'unknown', node });
  }
}
