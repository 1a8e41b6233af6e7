import { hash32 } from '../core/hash.js';
import { allPartitions } from '../core/partition-set.js';
import { partitionOf } from '../core/placement.js';
import type { AskReply, AskRequest } from '../io/peer-asks.js';
import type { Store } from '../io/store.js';
import type { AnsweringReplica } from './ask-handlers.js';
import type { GroupCommit } from './group-commit.js';
import { recordKey } from './layout.js';
import { lookUp } from './lookup.js';
import type { Promises } from './promises.js';
import { isAtOrAbove, type StoredPromise } from './stored-promises.js';

const MOST_AT_ONCE = 2_048;
const MOST_BYTES = 192 * 1024;
const NO_KEY = new Uint8Array(0);

/** The promises of this replica as a replica takes them over that has forgotten its own. */
export class PromiseAnswers {
  readonly #promises: Promises;
  readonly #commit: GroupCommit;
  readonly #store: Store;

  /** Has the replica answer with it what is asked of promises. */
  constructor(
    replica: AnsweringReplica & { readonly promises: Promises },
    commit: GroupCommit,
    store: Store,
  ) {
    this.#promises = replica.promises;
    this.#commit = commit;
    this.#store = store;
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

  /**
   * Keeps these from now on, beside those that it had itself, but for what is already held at or above them; durable when it
   * resolves. A copy from below one of them has been taken without regard to it, and is in doubt where `mayDoubt` says so of its
   * partition. Rejects with a KvError.
   */
  async adopt(
    adopted: readonly StoredPromise[],
    mayDoubt: (partition: number) => boolean = () => true,
  ): Promise<void> {
    const all = [...this.#promises.sorted(allPartitions(), NO_KEY), ...adopted];
    const kept: StoredPromise[] = [];
    for (let at = 0; at < all.length; at += MOST_AT_ONCE) {
      const some = all.slice(at, at + MOST_AT_ONCE);
      const held = await lookUp(
        this.#store,
        some.map(({ key }) => recordKey(key)),
      );
      for (const [i, { key, ballot }] of some.entries()) {
        const record = held[i];
        if (isAtOrAbove(key, record, ballot)) continue;
        const isInDoubt = record !== undefined && mayDoubt(partitionOf(hash32(key)));
        kept.push({ key, ballot, isInDoubt });
      }
    }
    this.#promises.enforce();
    for (const { key, ballot, isInDoubt } of kept) {
      const keyHash = hash32(key);
      this.#promises.raise(key, keyHash, ballot);
      if (isInDoubt === true) this.#promises.doubt(key, keyHash);
    }
    // The batch that comes next brings what has changed.
    if (kept.length > 0) await this.#commit.change(() => {});
  }
}
