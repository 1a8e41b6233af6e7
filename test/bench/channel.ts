import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { hash32 } from '../../src/core/hash.js';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import { encodeRecord } from '../../src/core/record.js';
import { systemClock } from '../../src/io/clock.js';
import type { ApplyAnswer, ApplyCall, ApplySource } from '../../src/io/peer.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers } from '../../src/io/timers.js';
import { clientOptions } from '../../src/wire/grpc-options.js';
import { v1 } from '../../src/wire/messages.js';
import { createPeerLink, type PeerLink } from '../../src/wire/peer-link.js';
import { asBuffer, asIs, KV_SERVICE } from '../../src/wire/services.js';
import { startFakeNode, welcomeOf } from '../wire/fake-node.js';

// What a call costs on a channel beside a unary call, in the same run: `node dist/test/bench/channel.js [in flight] [calls]`.
// The server runs in a process of its own and answers at once, so what is measured is the wire and nothing else.

const [inFlight = 256, callCount = 300_000] = process.argv.slice(2).map(Number);
const RECORD_BYTES = 300;
const EMPTY = new Uint8Array(0);

interface Cost {
  readonly callsPerSecond: number;
  readonly clientMicros: number;
  readonly serverMicros: number;
}

async function serve(): Promise<void> {
  const node = await startFakeNode();
  node.replica.apply = (call, slot) => call.onApplied(slot, { kind: 'applied' });
  node.coordinator.execute = (operation) => operation.onAnswer(DONE);
  process.on('message', () => process.send?.(process.cpuUsage()));
  process.on('disconnect', () => process.exit());
  process.send?.(node.endpoint);
}

const DONE = {
  code: undefined,
  outcome: 'none' as const,
  message: '',
  record: undefined,
  shadow: undefined,
  receipt: undefined,
};

async function measure(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), {
    env: { ...process.env, QUORATE_BENCH_SERVER: '1' },
  });
  const reply = <T>(): Promise<T> =>
    new Promise((resolve) => {
      server.once('message', (message) => resolve(message as T));
    });
  const endpoint = await reply<string>();
  const serverCpu = async (): Promise<NodeJS.CpuUsage> => {
    const usage = reply<NodeJS.CpuUsage>();
    server.send('cpu');
    return usage;
  };
  const cost = async (calls: number, run: () => Promise<void>): Promise<Cost> => {
    const serverBefore = await serverCpu();
    const clientBefore = process.cpuUsage();
    const startedMs = performance.now();
    await run();
    const seconds = (performance.now() - startedMs) / 1_000;
    const client = process.cpuUsage(clientBefore);
    const serverAfter = await serverCpu();
    const serverMicros =
      serverAfter.user + serverAfter.system - serverBefore.user - serverBefore.system;
    return {
      callsPerSecond: calls / seconds,
      clientMicros: (client.user + client.system) / calls,
      serverMicros: serverMicros / calls,
    };
  };
  const unaryCalls = Math.ceil(callCount / 20);
  const unary = new Client(endpoint, credentials.createInsecure(), clientOptions(DEFAULT_LIMITS));
  await runUnary(unary, 2_000);
  print('unary  ', await cost(unaryCalls, () => runUnary(unary, unaryCalls)));
  const peer = createPeerLink({
    nodeId: 'n1',
    address: endpoint,
    selfId: 'n2',
    facts: welcomeOf(),
    limits: DEFAULT_LIMITS,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
  });
  while (!peer.connected) await new Promise((resolve) => setImmediate(resolve));
  await runChannel(peer, 50_000);
  print('channel', await cost(callCount, () => runChannel(peer, callCount)));
  await peer.close(0);
  unary.close();
  server.disconnect();
}

function print(name: string, { callsPerSecond, clientMicros, serverMicros }: Cost): void {
  const micros = `client ${clientMicros.toFixed(2)} µs, server ${serverMicros.toFixed(2)} µs CPU per call`;
  console.log(`${name}: ${Math.round(callsPerSecond)} calls/s, ${micros}`);
}

/** A closed loop: each answer sends the next call. */
class Loop implements ApplyCall {
  readonly key = Buffer.from('user/0123456789/profile');
  readonly keyHash = hash32(this.key);
  readonly record = encodeRecord(this.key, {
    version: { wallMs: 1, logical: 0, writerHi: 0, writerLo: 1 },
    tombstone: false,
    value: new Uint8Array(RECORD_BYTES - 25),
  });
  readonly source: ApplySource = 'write';
  readonly fence = new Uint8Array(0);
  readonly placementVersion = 1;
  readonly traceparent = EMPTY;
  deadlineMs = 0;
  sent = 0;
  answered = 0;

  constructor(
    readonly peer: PeerLink,
    readonly total: number,
    readonly onEnd: () => void,
  ) {}

  next(): void {
    if (this.sent === this.total) return;
    this.sent++;
    this.deadlineMs = systemClock.monotonicMs() + 5_000;
    this.peer.apply(this, 0);
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    if (answer.kind !== 'applied') throw new Error(JSON.stringify(answer));
    this.answered++;
    if (this.answered === this.total) this.onEnd();
    else this.next();
  }
}

function runChannel(peer: PeerLink, total: number): Promise<void> {
  return new Promise((resolve) => {
    const loop = new Loop(peer, total, resolve);
    for (let i = 0; i < inFlight; i++) loop.next();
  });
}

function runUnary(client: Client, total: number): Promise<void> {
  const request = { key: Buffer.from('k'), value: new Uint8Array(RECORD_BYTES) };
  const message = asBuffer(v1.PutRequest.encode(request).finish());
  return new Promise((resolve, reject) => {
    let sent = 0;
    let answered = 0;
    const next = (): void => {
      if (sent === total) return;
      sent++;
      client.makeUnaryRequest(KV_SERVICE.put.path, asIs, asIs, message, (error) => {
        if (error !== null) reject(error);
        else if (++answered === total) resolve();
        else next();
      });
    };
    for (let i = 0; i < inFlight; i++) next();
  });
}

if (process.env['QUORATE_BENCH_SERVER'] === '1') await serve();
else await measure();
