import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  conditionOf,
  parseProcStat,
  seeProcess,
  signalOwn,
  TOKEN_VARIABLE,
  type SeenProcess,
} from '../../cluster/own-process.js';

const identity = { pid: 4242, startTime: '1000', token: 'a1b2' };
const itself: SeenProcess = { startTime: '1000', condition: 'running', token: 'a1b2' };

describe('whether a process is ours', () => {
  test('it is, with the start time and the token that were recorded', () => {
    expect(conditionOf(identity, itself)).toBe('running');
    expect(conditionOf(identity, { ...itself, condition: 'paused' })).toBe('paused');
  });

  test.each<[string, SeenProcess | undefined]>([
    ['no process has the id', undefined],
    ['nothing is left of it but its exit code', { ...itself, condition: 'zombie' }],
    ['the id was given to a process that started later', { ...itself, startTime: '1001' }],
    ['after a reboot, a process started at the same tick', { ...itself, token: undefined }],
    ['another cluster started it', { ...itself, token: 'c3d4' }],
  ])('it is gone when %s', (_, seen) => {
    expect(conditionOf(identity, seen)).toBe('gone');
  });
});

test('a process name with spaces and brackets does not shift the fields of /proc/PID/stat', () => {
  const rest = Array.from({ length: 48 }, (_, index) => String(index + 5));
  rest[17] = '987654';
  expect(parseProcStat(`17 (a (b) c) T 1 ${rest.join(' ')}\n`)).toEqual({
    startTime: '987654',
    condition: 'paused',
  });
});

test('only the process with the recorded token is signalled', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
    env: { ...process.env, [TOKEN_VARIABLE]: 'ours' },
  });
  try {
    const pid = child.pid ?? 0;
    const seen = seeProcess(pid);
    expect(seen).toMatchObject({ token: 'ours', condition: 'running' });
    const startTime = seen?.startTime ?? '';
    expect(signalOwn({ pid, startTime, token: 'theirs' }, 'SIGKILL')).toBe('gone');
    expect(signalOwn({ pid, startTime: `${startTime}0`, token: 'ours' }, 'SIGKILL')).toBe('gone');
    expect(seeProcess(pid)).toBeDefined();
    expect(child.signalCode).toBeNull();

    expect(signalOwn({ pid, startTime, token: 'ours' }, 'SIGTERM')).toBe('sent');
    await once(child, 'exit');
    expect(child.signalCode).toBe('SIGTERM');
    expect(signalOwn({ pid, startTime, token: 'ours' }, 'SIGTERM')).toBe('gone');
  } finally {
    child.kill('SIGKILL');
  }
});
