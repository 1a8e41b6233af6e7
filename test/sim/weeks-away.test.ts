import { expect, test } from 'vitest';
import { ALL_RECORDS } from '../../src/replica/layout.js';
import { drawShape, LONGEST_REQUEST_MS } from './shape.js';
import { Trace } from './trace.js';
import type { SimClient } from './client.js';
import { World } from './world.js';

const WEEKS_MS = 3 * 7 * 24 * 3_600_000;
const KEY = 'key/deleted';
const QUORUM = { level: 'QUORUM' } as const;

/** Three nodes and a client, all well, for as long as `live` takes of virtual time. */
async function inCluster(live: (world: World, client: SimClient) => Promise<void>): Promise<void> {
  const shape = {
    ...drawShape({ seed: 1, nodes: 3, clients: 1 }),
    replication: 3,
    keys: [KEY],
    skewMs: 0,
    driftRate: 0,
    upkeep: {
      gossipMs: 300,
      antiEntropyMs: 300,
      fenceEveryMs: 500,
      fenceLagMs: 2_000,
      scrubMs: 100,
      longestRequestMs: LONGEST_REQUEST_MS,
    },
  };
  const world = new World(shape, new Trace(0), ['quorum'], undefined);
  await world.kernel.run(async () => {
    for (const node of world.nodes) node.start();
    await until(world, () =>
      world.nodes.every(({ node }) => node?.replica.standing.state === 'serving'),
    );
    await live(world, await world.addClient(3));
  });
  expect(world.problems).toEqual([]);
}

async function until(world: World, holds: () => boolean): Promise<void> {
  const endMs = world.kernel.nowMs + 60_000;
  while (!holds()) {
    if (world.kernel.nowMs > endMs) throw new Error('a minute was not enough');
    await world.kernel.sleep(50);
  }
}

/** Every clock shows three weeks more, as if nobody had written anything in them. */
async function letWeeksPass(world: World): Promise<void> {
  for (const host of world.hosts()) world.clockOf(host).setSkew(WEEKS_MS);
  await world.kernel.sleep(30_000);
}

function holders(world: World): string[] {
  return world.nodes.filter(({ disk }) => disk.entries(ALL_RECORDS).length > 0).map(({ id }) => id);
}

test('a node that was away for weeks brings nothing back, and deletes are kept until it has heard of them', async () => {
  await inCluster(async (world, client) => {
    const away = world.nodes[2] as World['nodes'][number];
    expect(await client.put(KEY, { level: 'ALL' })).toBeDefined();
    away.crash(false);
    expect(await client.delete(KEY, QUORUM)).toBeDefined();
    await letWeeksPass(world);
    // It has the value, so the others keep the tombstone.
    expect(holders(world)).toEqual(['n1', 'n2', 'n3']);
    away.start();
    await until(world, () => world.disagreement() === '' && holders(world).length === 0);
    expect(await client.get(KEY, { level: 'ALL' })).toBe('');
  });
});

test('a folder from before a delete that is put back weeks after brings nothing back', async () => {
  await inCluster(async (world, client) => {
    const restored = world.nodes[2] as World['nodes'][number];
    expect(await client.put(KEY, { level: 'ALL' })).toBeDefined();
    const folder = restored.disk.backup();
    expect(await client.delete(KEY, QUORUM)).toBeDefined();
    await letWeeksPass(world);
    await until(world, () => holders(world).length === 0);
    restored.crash(false);
    restored.disk.restore(folder);
    expect(holders(world)).toEqual(['n3']);
    restored.start();
    await until(world, () => world.disagreement() === '' && holders(world).length === 0);
    expect(await client.get(KEY, { level: 'ALL' })).toBe('');
  });
});
