import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../../src/index.js';
import { openUnaryClient } from '../../src/wire/unary-client.js';
import { eventually, freePorts, NodeProcess } from './processes.js';

let folder: string;
let ports: number[];
const running: NodeProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-moved-'));
  ports = await freePorts(5);
});

afterAll(async () => {
  await Promise.all(running.map((node) => node.stop('SIGKILL')));
  rmSync(folder, { recursive: true, force: true });
});

const at = (place: number): string => `127.0.0.1:${ports[place] ?? 0}`;

/** Starts the node `id` with a list in which n1, n2 and n3 are at these places. */
function launch(id: string, places: readonly number[], ...extra: string[]): NodeProcess {
  const list = places.map((place, i) => `n${i + 1}=${at(place)}/z${i + 1}`);
  const args = ['--node', id, '--members', list.join(','), '--data', join(folder, id), ...extra];
  const node = new NodeProcess(id, at(places[Number(id.slice(1)) - 1] ?? 0), args);
  node.launch();
  running.push(node);
  return node;
}

/** The node answers, and is connected to the others at these places. */
async function isConnectedTo(node: NodeProcess, others: readonly number[]): Promise<void> {
  const client = openUnaryClient(node.endpoint, { timeoutMs: 1_000 });
  try {
    const wanted = others.map(at).sort();
    await eventually(
      `${node.id} is connected to ${wanted.join(' and ')}\n${node.log}`,
      async () => {
        const status = await client.status().catch(() => undefined);
        const connected = status?.peers.filter(({ state }) => state === 'connected') ?? [];
        return (
          connected
            .map(({ address }) => address)
            .sort()
            .join() === wanted.join()
        );
      },
    );
  } finally {
    client.close();
  }
}

test('nodes that come back at other addresses are found by the others, by a stale list through a seed, and by the SDK', async () => {
  const n1 = launch('n1', [0, 1, 2]);
  const n2 = launch('n2', [0, 1, 2]);
  const n3 = launch('n3', [0, 1, 2]);
  await isConnectedTo(n1, [1, 2]);
  await using kv = await connect({ endpoints: [n1.endpoint] });
  await kv.put('before', '1', { consistency: 'ALL' });

  // n2 moves, and alone knows that it did.
  await n2.stop('SIGTERM');
  const moved = launch('n2', [0, 3, 2]);
  await isConnectedTo(n1, [3, 2]);
  await isConnectedTo(n3, [0, 3]);
  await isConnectedTo(moved, [0, 2]);
  await eventually('the SDK finds it', () =>
    kv.cluster().members.some(({ address, connected }) => connected && address === at(3)),
  );

  // n3 moves too, and its list is wrong about both others: only a seed can help it.
  await n3.stop('SIGTERM');
  const lost = launch('n3', [2, 1, 4], '--seeds', at(3));
  await isConnectedTo(lost, [0, 3]);
  await isConnectedTo(moved, [0, 4]);
  await isConnectedTo(n1, [3, 4]);
  await kv.put('after', '2', { consistency: 'ALL' });
  expect(await kv.get('before')).toBe('1');
});
