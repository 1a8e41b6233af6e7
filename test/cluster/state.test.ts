import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newState, readState, STATE_FILE, withRecord, writeState } from '../../cluster/state.js';
import { LOCK_FILE, withStateLock } from '../../cluster/state-lock.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-state-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the state file', () => {
  test('gives back what was written, and leaves no draft behind', () => {
    const process = { pid: 12, startTime: '34', token: 'ab' };
    const state = withRecord(newState({ nodeCount: 3, basePort: 7101 }), 'n2', {
      process,
      ended: null,
    });
    expect(readState(folder)).toBeUndefined();
    writeState(folder, state);
    expect(readState(folder)).toEqual(state);
    expect(readdirSync(folder)).toEqual([STATE_FILE]);
  });

  test.each([
    ['cut short', '{"format": 1, "nodeC'],
    ['of a later format', '{"format": 2, "nodeCount": 3, "basePort": 7101, "nodes": {}}'],
    [
      'with a process id that would signal a whole group',
      '{"format": 1, "nodeCount": 3, "basePort": 7101, "nodes": {"n1": {"process": {"pid": -1, "startTime": "", "token": ""}, "ended": null}}}',
    ],
  ])('%s is refused and left as it is', (_, text) => {
    const file = join(folder, STATE_FILE);
    writeFileSync(file, text);
    expect(() => readState(folder)).toThrow(/is not a state that this script wrote/);
    expect(readFileSync(file, 'utf8')).toBe(text);
  });
});

describe('the lock', () => {
  test('lets one work at a time, also after a failure', async () => {
    let atWork = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++atWork);
      await Promise.resolve();
      atWork--;
    };
    const failing = withStateLock(folder, () => Promise.reject(new Error('of the work')));
    await expect(failing).rejects.toThrow('of the work');
    await Promise.all([1, 2, 3].map(() => withStateLock(folder, work)));
    expect(most).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is taken over from a run that was killed, whatever has its process id now', async () => {
    const dead = { pid: process.pid, startTime: 'of another process' };
    writeFileSync(join(folder, LOCK_FILE), JSON.stringify(dead));
    await expect(withStateLock(folder, () => Promise.resolve('done'))).resolves.toBe('done');
    expect(readdirSync(folder)).toEqual([]);
  });
});
