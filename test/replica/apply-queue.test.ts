import { describe, expect, test } from 'vitest';
import { ApplyQueue } from '../../src/replica/apply-queue.js';
import { applyCall, bytes } from './fixtures.js';

const BOUNDS = { groupCalls: 3, groupBytes: 100, queueCalls: 5, queueBytes: 1_000 };

const callOf = (recordBytes: number) => applyCall(bytes('k'), new Uint8Array(recordBytes));

describe('the queue of applies', () => {
  test('cuts groups by count and by bytes, in the order in which calls came', () => {
    const queue = new ApplyQueue({ ...BOUNDS, queueCalls: 100 });
    [10, 10, 10, 10, 80, 10, 500, 10].forEach((size, slot) => queue.add(callOf(size), slot));
    const groups: number[][] = [];
    for (let group = queue.take(); group !== undefined; group = queue.take()) {
      groups.push(group.slots);
    }
    expect(groups).toEqual([[0, 1, 2], [3, 4], [5], [6], [7]]);
  });

  test('takes no more than its bounds, and takes again when a group has left', () => {
    const queue = new ApplyQueue(BOUNDS);
    for (let slot = 0; slot < 5; slot++) expect(queue.add(callOf(10), slot)).toBe(true);
    expect(queue.add(callOf(10), 5)).toBe(false);
    expect(queue.length).toBe(5);
    queue.take();
    expect(queue.add(callOf(900), 6)).toBe(true);
    expect(queue.add(callOf(100), 7)).toBe(false);
    expect(queue.add(callOf(10), 8)).toBe(true);
  });
});
