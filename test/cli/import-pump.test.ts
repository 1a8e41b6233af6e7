import { describe, expect, test } from 'vitest';
import { ImportPump, type PumpOptions } from '../../cli/import-pump.js';
import { KvError } from '../../src/core/errors.js';
import type { Kv, Written } from '../../src/index.js';

interface Put {
  readonly text: string;
  readonly succeed: () => void;
  readonly fail: (error: KvError) => void;
}

/** A store whose puts end when the test says so. */
class FakeKv {
  readonly puts: Put[] = [];

  put(key: Uint8Array, value: Uint8Array): Promise<Written> {
    return new Promise((resolve, reject) => {
      this.puts.push({
        text: `${Buffer.from(key).toString()}=${Buffer.from(value).toString()}`,
        succeed: () => resolve({} as Written),
        fail: reject,
      });
    });
  }

  take(): Put {
    return this.puts.shift() as Put;
  }
}

function start(options: Partial<PumpOptions> = {}) {
  const kv = new FakeKv();
  const events: string[] = [];
  const pump = new ImportPump(kv as unknown as Kv<Uint8Array>, {
    concurrency: 2,
    giveUpMs: 60_000,
    onDone: (index) => events.push(`done ${index}`),
    onRejected: (index, error) => events.push(`rejected ${index}: ${error.message}`),
    onExpired: (index) => events.push(`expired ${index}`),
    onTrouble: (error) => events.push(error === undefined ? 'well again' : `trouble ${error.code}`),
    onFailure: (error) => events.push(`failed: ${(error as Error).message}`),
    ...options,
  });
  const offer = (index: number, key: string, value = 'v') =>
    pump.offer(index, Buffer.from(key), Buffer.from(value));
  return { kv, events, pump, offer };
}

describe('the puts of an import', () => {
  test('are as many at once as was asked for, and no more', async () => {
    const { kv, pump, offer } = start();
    expect(offer(0, 'a')).toBeUndefined();
    expect(offer(1, 'b')).toBeUndefined();
    const room = offer(2, 'c');
    expect(room).toBeInstanceOf(Promise);
    expect(kv.puts).toHaveLength(2);
    kv.take().succeed();
    await room;
    expect(offer(2, 'c')).toBeUndefined();
    for (const { succeed } of kv.puts) succeed();
    await pump.drain();
  });

  test('of one key follow each other, so that the later wins', async () => {
    const { kv, events, pump, offer } = start();
    expect(offer(0, 'a', '1')).toBeUndefined();
    const room = offer(1, 'a', '2');
    expect(kv.puts.map(({ text }) => text)).toEqual(['a=1']);
    kv.take().succeed();
    await room;
    expect(offer(1, 'a', '2')).toBeUndefined();
    expect(kv.puts.map(({ text }) => text)).toEqual(['a=2']);
    kv.take().succeed();
    await pump.drain();
    expect(events).toEqual(['done 0', 'done 1']);
  });

  test('are tried again through an outage, of which people hear once', async () => {
    const { kv, events, pump, offer } = start();
    void offer(0, 'a');
    kv.take().fail(new KvError('NO_QUORUM', 'two are down', { outcome: 'unknown' }));
    await expect.poll(() => kv.puts.length).toBe(1);
    kv.take().fail(new KvError('UNAVAILABLE', 'all are down'));
    await expect.poll(() => kv.puts.length).toBe(1);
    kv.take().succeed();
    await pump.drain();
    expect(events).toEqual(['trouble NO_QUORUM', 'well again', 'done 0']);
  });

  test('that are refused for their key or value are rejected; the rest goes on', async () => {
    const { kv, events, pump, offer } = start();
    void offer(0, 'a');
    kv.take().fail(new KvError('INVALID_ARGUMENT', 'value: 9 bytes, the limit is 8'));
    await pump.drain();
    expect(offer(1, 'b')).toBeUndefined();
    kv.take().succeed();
    await pump.drain();
    expect(events).toEqual(['rejected 0: value: 9 bytes, the limit is 8', 'done 1']);
  });

  test('that are refused for their expiry had expired, or are rejected when it is too far away', async () => {
    const { kv, events, pump } = start();
    for (const [index, expiresAtMs] of [1_000, 2 ** 47].entries()) {
      expect(
        pump.offer(index, Buffer.from('a'), Buffer.from('v'), { expiresAtMs }),
      ).toBeUndefined();
      kv.take().fail(new KvError('INVALID_ARGUMENT', 'expiresAtMs: no'));
      await pump.drain();
    }
    expect(events).toEqual(['expired 0', 'rejected 1: expiresAtMs: no']);
  });

  test.each([
    new KvError('INVALID_ARGUMENT', 'consistency: THREE of 2 replicas'),
    new KvError('WRONG_CLUSTER', 'another cluster'),
  ])('that can never succeed stop the import: $message', async (error) => {
    const { kv, events, pump, offer } = start();
    void offer(0, 'a');
    kv.take().fail(error);
    await expect(pump.drain()).rejects.toBe(error);
    expect(events).toEqual([`failed: ${error.message}`]);
    expect(() => offer(1, 'b')).toThrow(error);
  });

  test('that fail for too long stop the import', async () => {
    const { kv, pump, offer } = start({ giveUpMs: 0 });
    const error = new KvError('NO_QUORUM', 'two are down');
    void offer(0, 'a');
    kv.take().fail(error);
    await expect(pump.drain()).rejects.toBe(error);
  });

  test('that are under way when it is stopped get their answers, and none begins', async () => {
    const { kv, events, pump, offer } = start();
    void offer(0, 'a');
    pump.stop();
    expect(() => offer(1, 'b')).toThrow('stopped');
    kv.take().succeed();
    await pump.drain();
    expect(events).toEqual(['done 0']);
  });
});
