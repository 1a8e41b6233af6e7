import { describe, expect, test } from 'vitest';
import { COMMIT_COUNTER_KEY, sealNumber } from '../../src/replica/meta.js';
import { copyOf, createDisk, NodeCluster, type TestDisk } from './node-cluster.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** A cluster of three that serves, with a record on every node. */
async function threeNodes(): Promise<NodeCluster> {
  const cluster = new NodeCluster(3);
  for (const id of cluster.ids) await cluster.start(id);
  await cluster.untilServing(cluster.ids, SECOND);
  expect(await cluster.put('n1', 'k', 'first', 0)).toBe('stored');
  await cluster.time.advance(3 * SECOND);
  return cluster;
}

async function setCommitCounter(disk: TestDisk, counter: number): Promise<void> {
  const store = await disk.open();
  const sealed = sealNumber(COMMIT_COUNTER_KEY, counter);
  await store.batch().put(COMMIT_COUNTER_KEY, sealed).commit({ sync: true });
  await store.close();
}

describe('the first start', () => {
  test.each([
    [1, 3],
    [2, 3],
    [3, 3],
    [4, 3],
    [5, 3],
    [5, 5],
    [3, 1],
  ])('of %i nodes with %i replicas takes milliseconds', async (size, replication) => {
    const cluster = new NodeCluster(size, replication);
    for (const id of cluster.ids) await cluster.start(id);
    await cluster.untilServing(cluster.ids, 200);
    expect(await cluster.put('n1', 'k', 'v', 0)).toBe('stored');
    expect(await cluster.get(cluster.ids.at(-1) ?? '', 'k')).toBe('v');
  });

  test('of three nodes, one after the other, needs no person once all are there', async () => {
    const cluster = new NodeCluster(3);
    await cluster.start('n1');
    await cluster.time.advance(MINUTE);
    await cluster.start('n2');
    await cluster.time.advance(MINUTE);
    expect(cluster.standing('n1')).toMatch(
      /^waiting: its data folder is empty, .* n3 .*--trust-folder/,
    );
    expect(await cluster.put('n1', 'k', 'v', 2 * MINUTE)).toBe('NO_QUORUM');
    await cluster.start('n3');
    await cluster.untilServing(['n1', 'n2', 'n3'], 2 * SECOND);
    expect(await cluster.put('n1', 'k', 'v', 2 * MINUTE)).toBe('stored');
  });

  test('of five replicas does without as many as the majority can spare', async () => {
    const cluster = new NodeCluster(5, 5);
    for (const id of ['n1', 'n2', 'n3']) await cluster.start(id);
    await cluster.time.advance(MINUTE);
    expect(cluster.serves('n1') || cluster.serves('n2') || cluster.serves('n3')).toBe(false);
    await cluster.start('n4');
    await cluster.untilServing(['n1', 'n2', 'n3', 'n4'], 2 * SECOND);
  });

  test('of three nodes of which one never comes waits for the word of a person', async () => {
    const cluster = new NodeCluster(3);
    for (const id of ['n1', 'n2']) await cluster.start(id);
    await cluster.time.advance(10 * MINUTE);
    expect(cluster.standing('n1')).toContain('before n3 can be asked');
    for (const id of ['n1', 'n2']) {
      await cluster.stop(id);
      await cluster.start(id, true);
      expect(cluster.standing(id)).toBe('serving');
    }
    await cluster.time.until(() => cluster.node('n1').beliefs().length > 0, SECOND);
    await cluster.time.advance(SECOND);
    expect(await cluster.put('n1', 'k', 'v', 10 * MINUTE)).toBe('stored');
    // Who comes late is new: nobody remembers it.
    await cluster.start('n3');
    await cluster.untilServing(['n3'], SECOND);
  });

  test('that was broken off before the node served is gone on with, whatever had been recorded', async () => {
    const cluster = new NodeCluster(3);
    for (const id of cluster.ids) await cluster.start(id);
    // Everybody has met by now, and nobody serves yet.
    for (let ms = 0; ms < 200 && !cluster.serves('n1'); ms++) {
      await cluster.time.advance(0.5);
    }
    for (const id of cluster.ids) await cluster.stop(id);
    for (const id of cluster.ids) await cluster.start(id);
    await cluster.untilServing(cluster.ids, 2 * SECOND);
  });
});

describe('a node that comes back', () => {
  test('with its folder serves at once when its peers are there, and soon when one is not', async () => {
    const cluster = await threeNodes();
    const life = Buffer.from(cluster.node('n1').replica.incarnation);
    await cluster.stop('n1');
    await cluster.start('n1');
    await cluster.untilServing(['n1'], 50);
    expect(Buffer.from(cluster.node('n1').replica.incarnation)).toEqual(life);
    await cluster.stop('n3');
    await cluster.stop('n1');
    await cluster.start('n1');
    await cluster.untilServing(['n1'], 1_100);
    await cluster.time.advance(SECOND);
    expect(await cluster.get('n1', 'k')).toBe('first');
  });

  test('to nobody waits half a minute for somebody who knows better, and serves what it has', async () => {
    const cluster = await threeNodes();
    for (const id of cluster.ids) await cluster.stop(id);
    await cluster.start('n1');
    await cluster.time.advance(29 * SECOND);
    expect(cluster.standing('n1')).toBe('waiting: it has just started, and greets n2, n3 first');
    await cluster.untilServing(['n1'], 2 * SECOND);
    expect(await cluster.held('n1', 'k')).toBe('first');
  });

  test.each(['an empty folder', 'an older folder', 'a damaged log'])(
    'with %s is refilled before it serves, in a life that the others have recorded',
    async (what) => {
      const cluster = await threeNodes();
      await cluster.stop('n3');
      const older = await copyOf(cluster.diskOf('n3'));
      await cluster.start('n3');
      await cluster.untilServing(['n3'], SECOND);
      const life = Buffer.from(cluster.node('n3').replica.incarnation);
      expect(await cluster.put('n1', 'k', 'second', 3 * SECOND)).toBe('stored');
      expect(await cluster.put('n1', 'other', 'new', 3 * SECOND)).toBe('stored');
      await cluster.time.advance(3 * SECOND);
      await cluster.stop('n3');
      if (what === 'an empty folder') cluster.setDisk('n3', createDisk());
      else if (what === 'an older folder') cluster.setDisk('n3', older);
      else cluster.diskOf('n3').damaged = true;

      await cluster.stop('n2');
      await cluster.start('n3');
      await cluster.time.advance(5 * SECOND);
      expect(cluster.standing('n3')).toMatch(/^refilling: .*to be refilled it needs n2$/);
      // One source is not enough: what n3 had acknowledged with n2 may not be there.
      expect(await cluster.get('n1', 'k')).toBe('NO_QUORUM');

      await cluster.start('n2');
      await cluster.untilServing(['n3'], 5 * SECOND);
      expect(await cluster.held('n3', 'k')).toBe('second');
      expect(await cluster.held('n3', 'other')).toBe('new');
      const next = Buffer.from(cluster.node('n3').replica.incarnation);
      expect(Buffer.compare(next, life)).toBeGreaterThan(0);
      for (const id of ['n1', 'n2']) {
        const remembered = cluster.node(id).replica.memory.of('n3');
        expect(Buffer.from(remembered?.incarnation ?? [])).toEqual(next);
      }
      // And it is the same after a restart.
      await cluster.stop('n3');
      await cluster.start('n3');
      await cluster.untilServing(['n3'], SECOND);
      expect(Buffer.from(cluster.node('n3').replica.incarnation)).toEqual(next);
    },
  );

  test.each([0, 1])(
    'without the last commit that it had told of knows that, though it is met %i starts later',
    async (starts) => {
      const cluster = await threeNodes();
      const told = cluster.node('n2').replica.memory.of('n3')?.commitCounter ?? 0;
      await cluster.stop('n3');
      // A torn log, as after any crash: only that this time it had been synced.
      await setCommitCounter(cluster.diskOf('n3'), told - 1);
      await cluster.stop('n1');
      await cluster.stop('n2');
      for (let i = 0; i < starts; i++) {
        await cluster.start('n3');
        await cluster.untilServing(['n3'], MINUTE);
        await cluster.stop('n3');
      }
      await cluster.start('n3');
      await cluster.untilServing(['n3'], MINUTE);
      for (let i = 0; i < 5; i++) {
        const commit = cluster.node('n3').replica.introductions.persist();
        await cluster.time.advance(10);
        await commit;
      }
      await cluster.start('n1');
      await cluster.start('n2');
      await cluster.time.until(() => !cluster.serves('n3'), SECOND);
      expect(cluster.standing('n3')).toMatch(/^refilling: n[12] remembers it at commit \d+, which/);
      await cluster.untilServing(['n3'], 5 * SECOND);
    },
  );

  test('with an older folder of an idle cluster is known all the same', async () => {
    const cluster = await threeNodes();
    const life = Buffer.from(cluster.node('n3').replica.incarnation);
    await cluster.stop('n3');
    const older = await copyOf(cluster.diskOf('n3'));
    await cluster.start('n3');
    await cluster.time.advance(3 * SECOND);
    await cluster.stop('n3');
    cluster.setDisk('n3', older);
    await cluster.start('n3');
    await cluster.untilServing(['n3'], 2 * SECOND);
    const next = Buffer.from(cluster.node('n3').replica.incarnation);
    expect(Buffer.compare(next, life)).toBeGreaterThan(0);
  });

  test('that has forgotten refuses whatever it is asked for, and says why', async () => {
    const cluster = await threeNodes();
    await cluster.stop('n2');
    await cluster.stop('n3');
    cluster.setDisk('n3', createDisk());
    await cluster.start('n3');
    await cluster.time.advance(SECOND);
    const { replica } = cluster.node('n3');
    const why = { kind: 'refused', code: 'UNAVAILABLE', message: expect.stringContaining('n1') };
    const request = { partitions: new Uint8Array(32).fill(0xff) };
    expect(await replica.ask('fences', request, Infinity)).toMatchObject(why);
    expect(cluster.standing('n3')).toContain('its data folder was empty, and n1 remembers it');
    expect(replica.connected).toBe(false);
  });
});

describe('two replicas of a key that have forgotten', () => {
  test('wait for a person, who says which folder is all there is', async () => {
    const cluster = await threeNodes();
    for (const id of ['n2', 'n3']) {
      await cluster.stop(id);
      cluster.setDisk(id, createDisk());
    }
    for (const id of ['n2', 'n3']) await cluster.start(id);
    await cluster.time.advance(MINUTE);
    expect(cluster.standing('n2')).toMatch(/^refilling: .*n3 has forgotten too.*--trust-folder/);
    expect(cluster.standing('n3')).toMatch(/^refilling: .*n2 has forgotten too.*--trust-folder/);
    await cluster.stop('n2');
    await cluster.start('n2', true);
    await cluster.untilServing(['n2', 'n3'], 10 * SECOND);
    expect(await cluster.held('n3', 'k')).toBe('first');
    expect(await cluster.get('n2', 'k')).toBe('first');
  });
});
