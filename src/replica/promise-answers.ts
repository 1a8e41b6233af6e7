import { hash32 } from '../core/hash.js';
import type { AskReply, AskRequest } from '../io/peer-asks.js';
import type { AnsweringReplica } from './ask-handlers.js';
import type { GroupCommit } from './group-commit.js';
import type { Promises, StoredPromise } from './promises.js';

const MOST_AT_ONCE = 2_048;
const MOST_BYTES = 192 * 1024;

/** The promises of this replica as a replica takes them over that has forgotten its own. */
export class PromiseAnswers {
  readonly #promises: Promises;
  readonly #commit: GroupCommit;

  /** Has the replica answer with it what is asked of promises. */
  constructor(replica: AnsweringReplica & { readonly promises: Promises }, commit: GroupCommit) {
    this.#promises = replica.promises;
    this.#commit = commit;
    replica.answer('promises', async (request) => this.#list(request));
  }

  #list({ partitions, after }: AskRequest<'promises'>): AskReply<'promises'> {
    const keys: Uint8Array[] = [];
    const ballots: Uint8Array[] = [];
    let bytes = 0;
    for (const { key, ballot } of this.#promises.sorted(partitions, after)) {
      bytes += key.length + ballot.length;
      if (keys.length === MOST_AT_ONCE || (bytes > MOST_BYTES && keys.length > 0)) {
        return { kind: 'reply', keys, ballots, more: true };
      }
      keys.push(key);
      ballots.push(ballot);
    }
    return { kind: 'reply', keys, ballots, more: false };
  }

  /** The replica has forgotten: it takes every copy until it {@link adopt}s promises. On disk they stay as they are. */
  setAside(): void {
    this.#promises.setAside();
  }

  /** Keeps these from now on, beside those that it had itself; durable when it resolves. Rejects with a KvError. */
  async adopt(adopted: readonly StoredPromise[]): Promise<void> {
    this.#promises.enforce();
    if (adopted.length === 0) return;
    for (const { key, ballot } of adopted) this.#promises.raise(key, hash32(key), ballot);
    await this.#commit.change((batch) => {
      for (const { key } of adopted) this.#promises.write(batch, key, hash32(key));
    });
  }
}
