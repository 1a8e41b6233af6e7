import { decodeRecord, encodeRecord } from '../../src/core/record.js';
import type { Version } from '../../src/core/version.js';
import type { NodeCoordinator } from '../../src/coordinator/coordinator.js';
import type { Operation } from '../../src/coordinator/operation.js';
import type { Link, Linker, NodeCall } from '../../src/io/link.js';
import type { ApplyAnswer, ApplyCall, Peer } from '../../src/io/peer.js';
import type { Store, StoreBatch, StoreOpener } from '../../src/io/store.js';
import { ALL_RECORDS } from '../../src/replica/layout.js';
import { CLOCK_BOUND_KEY } from '../../src/replica/meta.js';

/** What a replica did with a call, told to the caller as something else. */
export function retold(
  peer: Peer,
  retell: (call: ApplyCall, answer: ApplyAnswer) => ApplyAnswer,
): Peer {
  return wrapPeer(peer, {
    apply: (call, slot) => {
      const onApplied = (_: number, answer: ApplyAnswer): void =>
        call.onApplied(slot, retell(call, answer));
      peer.apply({ ...termsOf(call), onApplied }, 0);
    },
  });
}

/** All of a call but who hears of its answer. */
export function termsOf(call: ApplyCall): Omit<ApplyCall, 'onApplied'> {
  const { key, keyHash, record, source, fence } = call;
  const { deadlineMs, placementVersion, traceparent } = call;
  return { key, keyHash, record, source, fence, deadlineMs, placementVersion, traceparent };
}

export function wrapPeer(peer: Peer, instead: Partial<Peer>): Peer {
  return {
    nodeId: peer.nodeId,
    get connected() {
      return peer.connected;
    },
    apply: (call, slot) => peer.apply(call, slot),
    read: (call, slot, part) => peer.read(call, slot, part),
    prepare: (call, slot) => peer.prepare(call, slot),
    scan: (request, deadlineMs) => peer.scan(request, deadlineMs),
    ping: (request, deadlineMs) => peer.ping(request, deadlineMs),
    ask: (kind, request, deadlineMs) => peer.ask(kind, request, deadlineMs),
    ...instead,
  };
}

export function wrapStore(
  opener: StoreOpener,
  wrap: (store: Store) => Partial<Store>,
): StoreOpener {
  return {
    hasRoom: () => opener.hasRoom(),
    verify: () => opener.verify(),
    acceptDamage: () => opener.acceptDamage(),
    async open() {
      const store = await opener.open();
      return {
        get: (key) => store.get(key),
        getMany: (keys) => store.getMany(keys),
        batch: () => store.batch(),
        cursor: (range) => store.cursor(range),
        sizeBytes: () => store.sizeBytes(),
        close: () => store.close(),
        ...wrap(store),
      };
    },
  };
}

/** A batch whose commit, or puts, are done differently. */
export function wrapBatch(
  batch: StoreBatch,
  instead: {
    readonly put?: (key: Uint8Array, value: Uint8Array) => void;
    readonly commit?: StoreBatch['commit'];
  },
): StoreBatch {
  const wrapped: StoreBatch = {
    put(key, value) {
      if (instead.put === undefined) batch.put(key, value);
      else instead.put(key, value);
      return wrapped;
    },
    del(key) {
      batch.del(key);
      return wrapped;
    },
    get length() {
      return batch.length;
    },
    commit: instead.commit ?? ((options) => batch.commit(options)),
    discard: () => batch.discard(),
  };
  return wrapped;
}

export function isRecordKey(storeKey: Uint8Array): boolean {
  return storeKey[0] === ALL_RECORDS.gte[0];
}

export function nameOf(storeKey: Uint8Array): string {
  return Buffer.from(storeKey).toString('latin1');
}

/** Each operation is changed before the coordinator sees it, or its answer before the client does. */
export function wrapCoordinator(
  coordinator: NodeCoordinator,
  change: (operation: Operation) => Partial<Operation>,
): NodeCoordinator {
  const changed = new WeakMap<Operation, Operation>();
  return {
    ...coordinator,
    get counters() {
      return coordinator.counters;
    },
    execute(operation) {
      const other: Operation = {
        kind: operation.kind,
        key: operation.key,
        record: operation.record,
        minVersion: operation.minVersion,
        expect: operation.expect,
        level: operation.level,
        zone: operation.zone,
        deadlineMs: operation.deadlineMs,
        receipt: operation.receipt,
        traceparent: operation.traceparent,
        onAnswer: (answer) => operation.onAnswer(answer),
        ...change(operation),
      };
      changed.set(operation, other);
      coordinator.execute(other);
    },
    cancel(operation) {
      coordinator.cancel(changed.get(operation) ?? operation);
    },
  };
}

/** Each call of an SDK is changed before it leaves. */
export function wrapLinker(linker: Linker, send: (call: NodeCall, link: Link) => void): Linker {
  return {
    open(endpoint, onState) {
      const link = linker.open(endpoint, onState);
      return {
        endpoint: link.endpoint,
        get welcome() {
          return link.welcome;
        },
        send: (call) => send(call, link),
        cancel: (call) => link.cancel(call),
        scan: (request, signal) => link.scan(request, signal),
        ping: (timeoutMs) => link.ping(timeoutMs),
        close: (graceMs) => link.close(graceMs),
      };
    },
  };
}

/** The call with other contents; answers go to the one it stands for. */
export function callLike(call: NodeCall, other: Partial<NodeCall>): NodeCall {
  return {
    kind: call.kind,
    key: call.key,
    record: call.record,
    minVersion: call.minVersion,
    expect: call.expect,
    receipt: call.receipt,
    level: call.level,
    zone: call.zone,
    timeoutMs: call.timeoutMs,
    traceparent: call.traceparent,
    onAnswer: (answer) => call.onAnswer(answer),
    ...other,
  };
}

export function restamped(key: Uint8Array, record: Uint8Array, version: Version): Uint8Array {
  const fields = decodeRecord(record);
  if (fields === undefined) throw new Error('an SDK sent what is no record');
  return encodeRecord(key, { ...fields, version });
}

/** A disk that says nothing of how far the clock of its node had come. */
export function withoutClockBound(opener: StoreOpener): StoreOpener {
  const bound = nameOf(CLOCK_BOUND_KEY);
  return wrapStore(opener, (store) => ({
    get: async (key) => (nameOf(key) === bound ? undefined : store.get(key)),
  }));
}
