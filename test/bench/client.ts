// What the SDK itself costs for each put, over a linker that answers at once. Usage: node dist/test/bench/client.js [PUTS]
import { connectThrough } from '../../src/client/connect-through.js';
import { bytesCodec } from '../../src/client/codec.js';
import { systemClock } from '../../src/io/clock.js';
import type { Link, Linker, NodeCall, Welcome } from '../../src/io/link.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers } from '../../src/io/timers.js';

const IN_FLIGHT = 256;
const VALUE_BYTES = 256;
const DONE = {
  code: undefined,
  outcome: 'none',
  message: '',
  record: undefined,
  shadow: undefined,
  receipt: undefined,
} as const;

const members = ['n1', 'n2', 'n3'].map((id) => ({ id, address: `${id}:1`, zone: id }));

const linker: Linker = {
  open(endpoint, onState) {
    const welcome: Welcome = {
      nodeId: endpoint.slice(0, 2),
      clusterName: 'bench',
      clusterId: 'bench',
      members,
      replicationFactor: 3,
      placementVersion: 1,
      wallMs: systemClock.wallMs(),
      quarantined: false,
      maxDriftMs: 500,
      maxKeyBytes: 4_096,
      maxValueBytes: 1_048_576,
    };
    let calls: NodeCall[] = [];
    const answer = () => {
      const ready = calls;
      calls = [];
      for (const call of ready) call.onAnswer(DONE);
    };
    const link: Link = {
      endpoint,
      welcome,
      send(call) {
        if (calls.push(call) === 1) systemTimers.turn(answer);
      },
      cancel: () => {},
      scan: () => Promise.resolve({ kind: 'page', entries: [], token: new Uint8Array(0) }),
      ping: () =>
        Promise.resolve({
          kind: 'pong',
          wallMs: systemClock.wallMs(),
          quarantined: false,
          placementVersion: 1,
        }),
      close: () => Promise.resolve(),
    };
    systemTimers.turn(() => onState({ kind: 'open', welcome, roundTripMs: 0.1 }));
    return link;
  },
};

const puts = Number(process.argv[2] ?? 400_000);
const kv = await connectThrough(
  { endpoints: 'n1:1', codec: bytesCodec },
  { clock: systemClock, timers: systemTimers, random: systemRandom, linker },
);
const value = new Uint8Array(VALUE_BYTES);

async function lane(from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await kv.put(`key/${i}`, value);
}

for (const [name, count] of [
  ['warm-up', puts / 4],
  ['measured', puts],
] as const) {
  const before = process.cpuUsage();
  const startMs = performance.now();
  const each = Math.ceil(count / IN_FLIGHT);
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, i) => lane(i * each, (i + 1) * each)));
  const { user, system } = process.cpuUsage(before);
  const done = each * IN_FLIGHT;
  const perSecond = Math.round(done / ((performance.now() - startMs) / 1_000));
  console.log(`${name}: ${perSecond} puts/s, ${((user + system) / done).toFixed(2)} µs CPU a put`);
}
await kv.close();
