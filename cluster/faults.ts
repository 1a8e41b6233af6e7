import { parseDurationMs } from '../cli/durations.js';
import type { FaultSettings } from '../src/wire/reports.js';
import { Problem } from './problem.js';

/** What a network partition adds to the faults of one node. */
export type Cut = Pick<FaultSettings, 'dropTo' | 'dropFrom'>;

const MAX_SKEW_MS = 24 * 60 * 60 * 1_000;
const MAX_DELAY_MS = 60_000;

/**
 * Cuts the network between two groups of nodes, both ways, or one way: the first group then hears nothing of the second,
 * which hears everything. Each cut is made at both of its ends, so it stays when one end starts again.
 */
export function partitionCuts(
  isolated: readonly string[],
  from: readonly string[],
  oneWay: boolean,
): ReadonlyMap<string, Cut> {
  const cuts = new Map<string, Cut>();
  for (const id of isolated) cuts.set(id, { dropTo: oneWay ? [] : from, dropFrom: from });
  for (const id of from) cuts.set(id, { dropTo: isolated, dropFrom: oneWay ? [] : isolated });
  return cuts;
}

export function withCut(faults: FaultSettings, cut: Cut): FaultSettings {
  return {
    ...faults,
    dropTo: [...new Set([...faults.dropTo, ...cut.dropTo])],
    dropFrom: [...new Set([...faults.dropFrom, ...cut.dropFrom])],
  };
}

/** The network is whole and quick again. The clock stays as it is: it is no part of the network. */
export function healed(faults: FaultSettings): FaultSettings {
  return { ...faults, dropTo: [], dropFrom: [], delayMs: 0 };
}

/** `+800ms`, `-2s`, `0ms` or `0` in milliseconds. At most a day either way. */
export function parseSkewMs(text: string): number {
  const match = /^([+-]?)(.+)$/.exec(text);
  const amountMs = match?.[2] === '0' ? 0 : parseDurationMs(match?.[2] ?? '');
  if (amountMs === undefined || amountMs > MAX_SKEW_MS) {
    throw new Problem(`skew: "${text}" must be like +800ms, -2s or 0ms, at most 24h.`, 2);
  }
  return match?.[1] === '-' && amountMs > 0 ? -amountMs : amountMs;
}

/** `50ms`, `1s` or `0` in milliseconds. At most a minute: no request waits longer. */
export function parseDelayMs(text: string): number {
  const amountMs = text === '0' ? 0 : parseDurationMs(text);
  if (amountMs === undefined || amountMs > MAX_DELAY_MS) {
    throw new Problem(`delay: "${text}" must be like 50ms or 1s, at most 60s; 0ms ends it.`, 2);
  }
  return amountMs;
}

export function formatSkew(skewMs: number): string {
  return `${skewMs < 0 ? '-' : '+'}${Math.abs(skewMs)} ms`;
}
