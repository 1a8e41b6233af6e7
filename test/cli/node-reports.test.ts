import { EventEmitter, once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askForMost, bestConnected, reportNodes, withNode } from '../../cli/node-reports.js';
import type { Settings } from '../../cli/settings.js';
import { startFakeNode, type FakeNode } from '../wire/fake-node.js';

/** Longer than a test may take: one that waits for it fails. */
const FOR_EVER_MS = 60_000;

let node: FakeNode;
/** Takes connections and says nothing, as a process that is stopped. */
let stopped: Server;
let stoppedAt: string;

beforeAll(async () => {
  node = await startFakeNode();
  stopped = createServer();
  await new Promise<void>((resolve) => stopped.listen(0, '127.0.0.1', resolve));
  stoppedAt = `127.0.0.1:${(stopped.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await node.server.close(1_000);
  stopped.close();
});

function settings(endpoints: readonly string[], statusTimeoutMs = FOR_EVER_MS): Settings {
  const timeoutMs = FOR_EVER_MS;
  const nothing = { consistency: undefined, output: undefined, zone: undefined };
  return { endpoints, timeoutMs, statusTimeoutMs, ...nothing };
}

describe('a node that takes connections and answers nothing', () => {
  test('is not waited for where another one has answered, though that one misses something', async () => {
    const at = settings([stoppedAt, node.endpoint]);
    expect(
      await askForMost(
        at,
        (one) => one.describe(),
        () => 1,
      ),
    ).toMatchObject({ nodeId: 'n1' });
    expect(await bestConnected(at)).toBe(node.endpoint);
  });

  test('is told of in words of ours, after the time for a status and not that for a request', async () => {
    const failure = await withNode(stoppedAt, { timeoutMs: 10 }, (one) => one.status()).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: 'TIMED_OUT' });
    expect((failure as Error).message).toMatch(/^127\.0\.0\.1:\d+: no answer within [\d.]+ s$/);
    const { nodes } = await reportNodes(settings([stoppedAt, node.endpoint], 100));
    expect(nodes.map(({ report }) => report)).toContain(undefined);
  });
});

describe('of several answers', () => {
  test('the one that misses least is taken, whichever comes last', async () => {
    const second = await startFakeNode();
    const answers = new EventEmitter();
    const secondHasAnswered = once(answers, second.endpoint);
    try {
      const best = await askForMost(
        settings([node.endpoint, second.endpoint]),
        async ({ endpoint }) => {
          answers.emit(endpoint);
          if (endpoint !== second.endpoint) await secondHasAnswered;
          return endpoint;
        },
        (endpoint) => (endpoint === second.endpoint ? 1 : 2),
      );
      expect(best).toBe(second.endpoint);
    } finally {
      await second.server.close(1_000);
    }
  });
});
