/** The package's entry: connect to a cluster, read and write keys. */
export { connect } from './client/connect.js';
export { bytesCodec, jsonCodec, textCodec, type Codec } from './client/codec.js';
export type {
  BatchOperation,
  BatchOptions,
  BatchResult,
  ClusterView,
  ConnectOptions,
  Entry,
  Key,
  Kv,
  KvDefaults,
  MemberView,
  PutOptions,
  ReadOptions,
  RefusedEndpoint,
  ScanOptions,
  WriteOptions,
  Written,
} from './client/kv.js';
export type {
  AtomicOptions,
  CasOptions,
  CasResult,
  Counter,
  Election,
  Expect,
  Leader,
  Leadership,
  Lock,
  LockOptions,
  RequestOutcome,
  Updated,
} from './client/linearizable.js';
export { CONSISTENCY_LEVELS, isConsistency, type Consistency } from './core/consistency.js';
export {
  ERROR_CODES,
  KvError,
  type ErrorCode,
  type KvErrorDetails,
  type Outcome,
} from './core/errors.js';
export type { Receipt, ReplicaOutcome } from './core/receipt.js';
export { compareVersions, formatVersion, parseVersion, type Version } from './core/version.js';
