import type { MethodDefinition } from '@grpc/grpc-js';

/**
 * The services of `proto/quorate.proto` as grpc-js wants them, written by hand. Messages pass through gRPC as bytes: our own
 * code decodes them, so that what is malformed gets an INVALID_ARGUMENT that names it instead of a bare INTERNAL.
 */
export type RawMethod = MethodDefinition<Buffer, Buffer>;

function method(path: string, stream: 'no' | 'answers' | 'both' = 'no'): RawMethod {
  return {
    path,
    requestStream: stream === 'both',
    responseStream: stream !== 'no',
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

/** The serializer of bytes that are a message already. */
export function asIs(bytes: Buffer): Buffer {
  return bytes;
}

export const KV_SERVICE = {
  get: method('/quorate.v1.Kv/Get'),
  put: method('/quorate.v1.Kv/Put'),
  delete: method('/quorate.v1.Kv/Delete'),
  batch: method('/quorate.v1.Kv/Batch'),
  outcome: method('/quorate.v1.Kv/Outcome'),
  scan: method('/quorate.v1.Kv/Scan'),
  channel: method('/quorate.v1.Kv/Channel', 'both'),
};

export const PEER_SERVICE = {
  channel: method('/quorate.v1.Peer/Channel', 'both'),
};

export const CLUSTER_SERVICE = {
  describe: method('/quorate.v1.Cluster/Describe'),
  status: method('/quorate.v1.Cluster/Status'),
  explain: method('/quorate.v1.Cluster/Explain'),
  verify: method('/quorate.v1.Cluster/Verify', 'answers'),
  repair: method('/quorate.v1.Cluster/Repair', 'answers'),
};

export const ADMIN_SERVICE = {
  setFaults: method('/quorate.v1.Admin/SetFaults'),
  getFaults: method('/quorate.v1.Admin/GetFaults'),
};

/** Whether the node coordinates writes: not while its clock is wrong or its disk takes none, though it serves reads. */
export const WRITES_HEALTH = 'quorate.v1.Kv.writes';

/** The names that health is asked for: the whole node, each service, and writes by themselves. */
export const HEALTH_SERVICES = [
  '',
  'quorate.v1.Kv',
  WRITES_HEALTH,
  'quorate.v1.Peer',
  'quorate.v1.Cluster',
] as const;

export type HealthService = (typeof HEALTH_SERVICES)[number];

/** protobufjs returns plain Uint8Array only in browsers; here it is a Buffer, and this says so without copying. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
