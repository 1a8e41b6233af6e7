import { KvError, type ErrorCode } from '../core/errors.js';
import type { ReplicaFailure } from '../io/peer.js';
import { StoreError } from '../io/store.js';

/** It has not applied the call and never will. */
export function refused(code: ErrorCode, message: string): ReplicaFailure {
  return { kind: 'refused', code, message };
}

export const LATE = refused('TIMED_OUT', 'the deadline passed before the replica came to it');
export const CORRUPT = refused(
  'RECORD_CORRUPT',
  'the stored record fails its checksum, so the replica abstains on this key',
);
export const STOPPING = refused('UNAVAILABLE', 'the replica is stopping');

/** What a store error is to a person: the reason first, then what the disk said. */
export function describeStoreError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof StoreError)) return message;
  switch (error.reason) {
    case 'locked':
      return `the data folder is held by another process: ${message}`;
    case 'corrupt':
      return `the data folder is damaged: ${message}`;
    case 'read-only':
      return `the data folder cannot be written: ${message}`;
    case 'full':
      return `the disk is full: ${message}`;
    case 'failed':
      return `the disk failed: ${message}`;
  }
}

/** A store error as what a caller outside the replica gets; nothing has been changed. */
export function storeFailure(error: unknown, node: string): KvError {
  if (error instanceof KvError) return error;
  const code = error instanceof StoreError && error.reason === 'locked' ? 'LOCKED' : 'STORE_FAILED';
  return new KvError(code, describeStoreError(error), { node, cause: error });
}
