import type { Socket } from 'node:net';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/**
 * Plain TCP, whose sockets can be cut. Closing a gRPC client only half-closes them and waits for the other side, so each
 * attempt to reach a node that is stopped and not dead would leave a socket behind for as long as it is stopped.
 */
export class CuttableCredentials extends ChannelCredentials {
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  /** Destroys what is connected, and what still connects as soon as it has. Close the client first. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  override compose(): never {
    throw new Error('Plain TCP carries no credentials.');
  }

  override _isSecure(): boolean {
    return false;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(): SecureConnector {
    const none = CallCredentials.createEmpty();
    return {
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => none,
      destroy() {},
      connect: (socket) => {
        // gRPC destroys the socket of a connection that is refused here.
        if (this.#isCut) return Promise.reject(new Error('The connection has been cut.'));
        this.#sockets.add(socket);
        socket.once('close', () => this.#sockets.delete(socket));
        return Promise.resolve({ socket, secure: false });
      },
    };
  }
}
