import { describe, expect, test } from 'vitest';
import { waitingText } from '../../cli/lease-view.js';
import { formatVersion } from '../../src/core/version.js';
import type { Entry } from '../../src/index.js';

const at = (wallMs: number) => ({ wallMs, logical: 0, writerHi: 0, writerLo: 1 });
const RENEWED_MS = 1_700_000_005_000;

function entry(value: string): Entry<Uint8Array> {
  return {
    key: Buffer.from('lock/jobs'),
    keyText: 'lock/jobs',
    value: Buffer.from(value),
    version: at(RENEWED_MS),
  };
}

describe('who waits for a lock is told', () => {
  test('who holds it, since when, and when it is free should its holder have died', () => {
    const token = formatVersion(at(1_700_000_000_000));
    const record = { holder: 'x', ttlMs: 10_000, token, value: 'db1:4711' };
    expect(waitingText('lock jobs', entry(JSON.stringify(record)), RENEWED_MS + 2_000)).toBe(
      'waiting for lock jobs: held by db1:4711 since 2023-11-14T22:13:20.000Z, renewed 2 s ago, free 10 s after its last renewal',
    );
  });

  test('what is known, where the holder says nothing of itself and has not renewed it, or has a clock that is ahead', () => {
    const record = { holder: 'x', ttlMs: 500 };
    expect(waitingText('lock jobs', entry(JSON.stringify(record)), RENEWED_MS - 1)).toBe(
      'waiting for lock jobs: held since 2023-11-14T22:13:25.000Z, renewed 0 ms ago, free 500 ms after its last renewal',
    );
  });

  test.each(['', 'null', '7', '{"value":7,"ttlMs":"x","token":"y"}'])(
    'no more than the time of %j, which is no lock',
    (value) => {
      expect(waitingText('lock jobs', entry(value), RENEWED_MS)).toBe(
        'waiting for lock jobs: held since 2023-11-14T22:13:25.000Z, renewed 0 ms ago',
      );
    },
  );

  test('nothing of a holder, where there is none any more', () => {
    expect(waitingText('lock jobs', undefined, 0)).toBe('waiting for lock jobs');
  });
});
