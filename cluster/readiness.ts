import { setTimeout as sleep } from 'node:timers/promises';
import { logFile, placesOf } from './layout.js';
import { LogReader } from './log-reader.js';
import type { StartedNode } from './node-process.js';
import { notServing, unreadyReason, viewNodes, type NodeView } from './node-view.js';
import { Problem } from './problem.js';
import { Progress } from './progress.js';
import type { ClusterState } from './state.js';
import type { Workplace } from './workplace.js';

const READY_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 100;
const SHOWN_LOG_LINES = 15;

/**
 * Waits until every running node is healthy and connected to every other one, and shows how far they are. A problem when a
 * node of `started` ends instead, with the last lines of its log, or when a minute is not enough. Resolves with the nodes as they
 * are then.
 */
export async function waitUntilReady(
  state: ClusterState,
  at: Workplace,
  started: readonly StartedNode[],
): Promise<readonly NodeView[]> {
  const progress = new Progress();
  const giveUpAtMs = performance.now() + READY_WITHIN_MS;
  try {
    for (;;) {
      const dead = started.find(
        ({ child }) => child.exitCode !== null || child.signalCode !== null,
      );
      if (dead !== undefined) throw diedAtStart(dead, at);
      const views = await viewNodes(state, placesOf(state));
      const waiting = views
        .filter((view) => view.process === 'running')
        .map((view) => ({
          id: view.place.id,
          says: view.report?.state,
          why: notServing(view),
          reason: unreadyReason(view, views),
        }));
      progress.show(
        waiting
          .map(({ id, says, reason }) => `${id} ${reason ?? (says === 'serving' ? 'ready' : says)}`)
          .join(' · '),
      );
      const late = waiting.filter(({ reason }) => reason !== undefined);
      if (late.length === 0) return views;
      if (performance.now() > giveUpAtMs) {
        throw new Problem(
          `Not ready after ${READY_WITHIN_MS / 1_000} s: ${late.map(({ id, why, reason }) => `${id} ${why ?? reason ?? ''}`).join('; ')}. ` +
            `They go on; see \`${at.script} logs ${late.map(({ id }) => id).join(' ')}\`.`,
          5,
        );
      }
      await sleep(LOOK_EVERY_MS);
    }
  } finally {
    progress.end();
  }
}

function diedAtStart({ place, child, logOffset }: StartedNode, at: Workplace): Problem {
  const file = logFile(at.stateFolder, place.id);
  const lines = new LogReader(place.id, file, logOffset).read().slice(-SHOWN_LOG_LINES);
  const how = child.signalCode ?? `exit code ${child.exitCode ?? 'unknown'}`;
  const shown = lines.map(({ text }) => `\n  ${text}`).join('');
  return new Problem(
    `${place.id} ended while it was starting (${how}). The end of its log, ${file}:${shown}\n` +
      `Mend the cause and run \`${at.script} up\` again. Nodes that did start go on.`,
  );
}
