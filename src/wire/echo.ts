import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { KvError } from '../core/errors.js';
import { asIs } from './services.js';

const PATH = '/quorate.bench.Echo/Echo';

/**
 * A bare grpc-js server that answers every unary call with what it was sent, on a free port of 127.0.0.1: what `kvctl bench
 * --echo` measures the store against. Nothing of the store is in it.
 */
export function startEchoServer(): Promise<{ readonly endpoint: string; close(): void }> {
  const server = new Server();
  server.addService(
    {
      echo: {
        path: PATH,
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    {
      echo(call: { request: Buffer }, answer: (error: null, bytes: Buffer) => void) {
        answer(null, call.request);
      },
    },
  );
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) {
        resolve({ endpoint: `127.0.0.1:${port}`, close: () => server.forceShutdown() });
      } else {
        reject(new KvError('UNAVAILABLE', `the echo server got no port: ${error.message}`));
      }
    });
  });
}

/** Unary calls to an echo server, with one connection as any gRPC client has. */
export interface EchoClient {
  /** Throws UNAVAILABLE when the call fails. */
  echo(bytes: Buffer): Promise<void>;
  close(): void;
}

export function openEchoClient(endpoint: string): EchoClient {
  const client = new Client(endpoint, credentials.createInsecure());
  return {
    echo: (bytes) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(PATH, asIs, asIs, bytes, (error) => {
          if (error === null) resolve();
          else reject(new KvError('UNAVAILABLE', `${endpoint}: ${error.message}`));
        });
      }),
    close: () => client.close(),
  };
}
