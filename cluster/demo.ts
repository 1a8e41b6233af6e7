import { randomBytes } from 'node:crypto';
import { openUnaryClient, type UnaryClient } from '../src/wire/unary-client.js';
import { play, type DemoNode } from './demo-play.js';
import { placesOf } from './layout.js';
import { down, up, wipe } from './lifecycle.js';
import { heal, partition } from './network.js';
import { processOf, viewNodes } from './node-view.js';
import { Problem } from './problem.js';
import { readState, type ClusterState } from './state.js';
import type { Workplace } from './workplace.js';

const ANSWER_WITHIN_MS = 10_000;
const LOOK_WITHIN_MS = 1_000;
const PAGE = 1_000;

/**
 * Cuts one of three nodes off while keys are written, and shows how far it falls behind and how it comes up again by itself.
 * Afterwards everything is as it was, however it ends: the network, the keys, which nodes run, and whether there is a cluster.
 */
export async function demo(at: Workplace): Promise<void> {
  const quiet: Workplace = { ...at, say: () => {} };
  const before = readState(at.stateFolder);
  if (before !== undefined) await refuseUnfit(at, before);
  const asleep =
    before === undefined
      ? []
      : placesOf(before).filter(({ id }) => processOf(before, id) !== 'running');
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    const state = await up(quiet, {});
    await playOn(state, at, quiet, abort.signal);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    const ids = asleep.map(({ id }) => id);
    if (before === undefined) {
      // Nothing is there when it could not be started.
      if (readState(at.stateFolder) !== undefined) await wipe(quiet);
    } else if (ids.length > 0) await down(quiet, ids);
  }
  at.say(
    before === undefined
      ? 'The three nodes were made for this, and are gone again. To have your own: `npm run cluster`.'
      : asleep.length > 0
        ? 'The keys are deleted, and the nodes that did not run before are stopped again.'
        : 'The keys are deleted; your nodes go on as before.',
  );
}

async function playOn(
  state: ClusterState,
  at: Workplace,
  quiet: Workplace,
  signal: AbortSignal,
): Promise<void> {
  const nodes = placesOf(state).map(({ id, endpoint }): DemoNode => {
    return {
      id,
      client: openUnaryClient(endpoint, { timeoutMs: ANSWER_WITHIN_MS }),
      impatient: openUnaryClient(endpoint, { timeoutMs: LOOK_WITHIN_MS }),
    };
  });
  const prefix = `quorate-demo/${randomBytes(4).toString('hex')}/`;
  try {
    await play({
      nodes,
      prefix,
      cut: (id) => partition(quiet, [id], { from: [], oneWay: false }),
      heal: () => heal(quiet),
      say: (line) => at.say(line),
      signal,
    });
  } finally {
    try {
      await heal(quiet);
      await deleteKeys((nodes[0] as DemoNode).client, prefix);
    } finally {
      for (const { client, impatient } of nodes) {
        client.close();
        impatient.close();
      }
    }
  }
}

/** A cluster on which the demo could not tell what it shows, or not leave everything as it was. */
async function refuseUnfit(at: Workplace, state: ClusterState): Promise<void> {
  if (state.nodeCount !== 3) {
    throw new Problem(
      `The demo is for three nodes, and the cluster in ${at.shownFolder} has ${state.nodeCount}. ` +
        'Let it make its own: `npm run cluster -- --state-dir .quorate/demo demo`, while this one is down.',
    );
  }
  for (const { place, process, report } of await viewNodes(state, placesOf(state))) {
    if (process === 'paused') {
      throw new Problem(
        `${place.id} is paused. Let it go on: \`${at.script} resume ${place.id}\`.`,
      );
    }
    if (report !== undefined && report.faults.length > 0) {
      throw new Problem(
        `${place.id} has faults injected (${report.faults.join(', ')}). End them: \`${at.script} heal\`, \`${at.script} skew ${place.id} 0ms\`.`,
      );
    }
  }
}

async function deleteKeys(client: UnaryClient, prefix: string): Promise<void> {
  for (;;) {
    const page = await client.scan({ prefix: Buffer.from(prefix), keysOnly: true, limit: PAGE });
    if (page.entries.length === 0) return;
    await client.batch(page.entries.map(({ key }) => ({ kind: 'delete', key })));
  }
}
