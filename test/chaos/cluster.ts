import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { placesOf, type Layout, type NodePlace } from '../../cluster/layout.js';
import { down, up, wipe } from '../../cluster/lifecycle.js';
import { findTakenPort } from '../../cluster/node-process.js';
import { processOf } from '../../cluster/node-view.js';
import { Problem } from '../../cluster/problem.js';
import { existingState, type Workplace } from '../../cluster/workplace.js';
import { KvError } from '../../src/core/errors.js';
import { openUnaryClient } from '../../src/wire/unary-client.js';
import { endAll, type Victims } from './faults.js';

const NODES = 3;
/** Below the ports that systems give to whoever connects: that of a node that is down stays free. */
const PORTS = { from: 20_000, to: 32_000 };
const RETRY_MS = 250;
const VERIFY_STALLS_MS = 30_000;

interface StartWish {
  readonly maxSkewMs: number;
  readonly folder?: string;
}

/** Three real nodes of the cluster script, in a folder of their own that goes with them. */
export class ChaosCluster implements Victims, AsyncDisposable {
  private constructor(
    readonly at: Workplace,
    readonly places: readonly NodePlace[],
    readonly maxSkewMs: number,
    readonly isKept: boolean,
  ) {}

  /** In a folder that goes with the nodes, or in the one that is given. */
  static async start({ folder, maxSkewMs }: StartWish): Promise<ChaosCluster> {
    const stateFolder =
      folder === undefined ? mkdtempSync(join(tmpdir(), 'quorate-chaos-')) : resolve(folder);
    const layout = await freeLayout();
    const script = 'npm run cluster --';
    const at = { stateFolder, shownFolder: stateFolder, script, say: () => {} };
    const cluster = new ChaosCluster(at, placesOf(layout), maxSkewMs, folder !== undefined);
    try {
      await up(at, layout);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get ids(): readonly string[] {
    return this.places.map(({ id }) => id);
  }

  get endpoints(): readonly string[] {
    return this.places.map(({ endpoint }) => endpoint);
  }

  /** Those that ended, and not by this program. */
  died(): readonly string[] {
    const state = existingState(this.at);
    return this.ids.filter((id) => processOf(state, id) === 'died');
  }

  /** Ends every fault and waits until all nodes are ready. Rejects after `withinMs`, with the last thing that went wrong. */
  async recover(withinMs: number): Promise<void> {
    const endMs = performance.now() + withinMs;
    for (;;) {
      try {
        await endAll(this);
        await up(this.at, {});
        return;
      } catch (error) {
        if (!isPassing(error) || performance.now() > endMs) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  /** Waits until a node finds all replicas equal. Rejects with Problem after `withinMs`, saying what differs. */
  async untilEqual(withinMs: number): Promise<void> {
    const endMs = performance.now() + withinMs;
    const client = openUnaryClient(this.endpoints[0] ?? '', { timeoutMs: VERIFY_STALLS_MS });
    try {
      for (;;) {
        const found: string[] = [];
        const { differing, uncompared } = await client.verify({
          onProgress: () => {},
          onDifference: ({ key, replicas }) =>
            found.push(`${Buffer.from(key).toString()}: ${JSON.stringify(replicas)}`),
        });
        if (differing === 0 && uncompared.length === 0) return;
        if (performance.now() > endMs) {
          const reasons = uncompared.map(({ node, reason }) => `; ${node} not compared: ${reason}`);
          throw new Problem(
            `${differing} keys differ in the end (${found.slice(0, 5).join('; ')})${reasons.join('')}`,
          );
        }
        await sleep(RETRY_MS);
      }
    } finally {
      client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isKept) {
      await down(this.at);
      return;
    }
    await wipe(this.at);
    rmSync(this.at.stateFolder, { recursive: true, force: true });
  }
}

/** A node that cannot be told now may be told later. */
export function isPassing(error: unknown): boolean {
  return error instanceof Problem || error instanceof KvError;
}

async function freeLayout(): Promise<Layout> {
  // Whoever runs this at the same time begins elsewhere.
  const first = PORTS.from + (process.pid % 1_000) * 10;
  for (let basePort = first; basePort < PORTS.to; basePort += NODES) {
    const layout = { nodeCount: NODES, basePort };
    if ((await findTakenPort(placesOf(layout))) === undefined) return layout;
  }
  throw new Error(`no ${NODES} ports from ${first} on are free`);
}
