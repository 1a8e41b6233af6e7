import { judgeClock, type ClockJudgement } from '../core/clock-health.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import { isReplicaFailure, type Peer } from '../io/peer.js';
import type { Timers } from '../io/timers.js';

const INTERVAL_MS = 1_000;
const TIMEOUT_MS = 1_000;
/** Of this many recent pings the one with the shortest round trip tells the offset: its two ways were the most alike. */
const SAMPLES = 8;
/** A peer that has not answered for this long is no witness any more: its clock, or ours, may have moved. */
const FORGET_MS = 10_000;
const NO_GOSSIP = { from: '', rumours: [] };
/** Wall clocks tell whole milliseconds, and two good clocks part by less than one in the time that samples are kept. */
const SLACK_MS = 2;
/** A change of the own wall by this part of the tolerated drift is a jump: no clock runs so wrong within a second. */
const JUMP_PARTS = 10;

export interface ClockWatchOptions {
  /** The other nodes. A new array when the member list changes. */
  readonly peers: () => readonly Peer[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly maxDriftMs: number;
  /** What came of a ping: its round trip, or undefined when there was no answer. For breakers and latencies. */
  readonly onPing?: (nodeId: string, roundTripMs: number | undefined) => void;
  /** The node enters quarantine, or leaves it. */
  readonly onQuarantine?: (quarantined: boolean, offsetMs: number) => void;
  readonly log: Log;
}

/** What the watch knows of one peer; `offsetMs` and `roundTripMs` are undefined until it has answered. */
export interface WatchedPeer {
  readonly nodeId: string;
  /** Its wall clock less ours; within half of `roundTripMs` of the truth. */
  readonly offsetMs: number | undefined;
  readonly roundTripMs: number | undefined;
  /** What it says of itself. */
  readonly quarantined: boolean;
}

/** Measures the clocks of the peers, and judges this node's own by them. */
export interface ClockWatch {
  /** True while this node's clock is too far from the median: it must coordinate no writes. */
  quarantined(): boolean;
  /** From the own clock to the median; 0 while the own clock is no worse than any. */
  offsetMs(): number;
  peers(): readonly WatchedPeer[];
  /** Pings every peer now, as it does by itself every second. Resolves when all have answered or not. */
  measure(): Promise<void>;
  stop(): void;
}

/**
 * One ping. The peer's wall clock is kept against this node's monotonic one, not against its wall: so a jump of the own wall
 * shows at once in every offset.
 */
interface Sample {
  /** The peer's wall time less the own monotonic time; true to within half of the round trip. */
  readonly baseMs: number;
  readonly roundTripMs: number;
  readonly atMs: number;
}

interface Witness {
  /** The oldest first. */
  samples: Sample[];
  quarantined: boolean;
  pinging: boolean;
}

/** Starts watching; the first pings go at once. */
export function startClockWatch(options: ClockWatchOptions): ClockWatch {
  const { clock, timers, maxDriftMs, log } = options;
  const witnesses = new Map<string, Witness>();
  let judgement: ClockJudgement = { offsetMs: 0, quarantined: false };
  /** Where the own wall was against the monotonic clock when it was last judged. */
  let judgedBaseMs = Number.NaN;

  const witnessOf = (nodeId: string): Witness => {
    let witness = witnesses.get(nodeId);
    if (witness === undefined) {
      witness = { samples: [], quarantined: false, pinging: false };
      witnesses.set(nodeId, witness);
    }
    return witness;
  };

  const ownBaseMs = (): number => clock.wallMs() - clock.monotonicMs();

  const judge = (): void => {
    const oldestMs = clock.monotonicMs() - FORGET_MS;
    const baseMs = ownBaseMs();
    judgedBaseMs = baseMs;
    const offsets: number[] = [];
    for (const { nodeId } of options.peers()) {
      const witness = witnessOf(nodeId);
      witness.samples = witness.samples.filter(({ atMs }) => atMs > oldestMs);
      const best = bestOf(witness.samples);
      if (best !== undefined) offsets.push(best.baseMs - baseMs);
    }
    const before = judgement;
    judgement = judgeClock(offsets, maxDriftMs);
    if (before.quarantined === judgement.quarantined) return;
    // As the status of the node says it: above 0, its clock is ahead.
    const fields = { offsetMs: Math.round(0 - judgement.offsetMs), maxDriftMs };
    if (judgement.quarantined) {
      log.warn(
        fields,
        'the clock of this node is wrong: it coordinates no writes until it is right',
      );
    } else {
      log.info(fields, 'the clock of this node is right again: it coordinates writes');
    }
    options.onQuarantine?.(judgement.quarantined, judgement.offsetMs);
  };

  const ping = async (peer: Peer): Promise<void> => {
    const witness = witnessOf(peer.nodeId);
    if (witness.pinging || !peer.connected) return;
    witness.pinging = true;
    const sentAtMs = clock.monotonicMs();
    const answer = await peer.ping(NO_GOSSIP, sentAtMs + TIMEOUT_MS);
    witness.pinging = false;
    const atMs = clock.monotonicMs();
    const roundTripMs = atMs - sentAtMs;
    if (isReplicaFailure(answer)) {
      // A call that was not sent says nothing, and a refusal says that the peer lives.
      if (answer.kind === 'failed') options.onPing?.(peer.nodeId, undefined);
      if (answer.kind === 'refused') options.onPing?.(peer.nodeId, roundTripMs);
      return;
    }
    options.onPing?.(peer.nodeId, roundTripMs);
    witness.quarantined = answer.quarantined;
    addSample(witness, {
      baseMs: answer.wallMs - (sentAtMs + roundTripMs / 2),
      roundTripMs,
      atMs,
    });
    judge();
  };

  const measure = async (): Promise<void> => {
    judge();
    await Promise.all(options.peers().map(ping));
  };

  const report = (error: unknown): void => {
    log.error({ err: error }, 'measuring the clocks of the peers failed');
  };
  const stop = timers.every(INTERVAL_MS, () => {
    measure().catch(report);
  });
  measure().catch(report);

  return {
    quarantined() {
      // A wall that has jumped since is judged before anything is stamped by it, or refused because of it.
      if (Math.abs(ownBaseMs() - judgedBaseMs) > maxDriftMs / JUMP_PARTS) judge();
      return judgement.quarantined;
    },
    offsetMs: () => judgement.offsetMs,
    peers: () =>
      options.peers().map(({ nodeId }) => {
        const { samples, quarantined } = witnessOf(nodeId);
        const best = bestOf(samples);
        return {
          nodeId,
          offsetMs: best === undefined ? undefined : best.baseMs - ownBaseMs(),
          roundTripMs: best?.roundTripMs,
          quarantined,
        };
      }),
    measure,
    stop,
  };
}

/** Keeps the sample; where its bounds exclude those of an older one, the peer's clock has jumped since, and that one goes. */
function addSample(witness: Witness, sample: Sample): void {
  const agrees = (older: Sample): boolean =>
    Math.abs(older.baseMs - sample.baseMs) <=
    (older.roundTripMs + sample.roundTripMs) / 2 + SLACK_MS;
  witness.samples = [...witness.samples.filter(agrees), sample].slice(-SAMPLES);
}

function bestOf(samples: readonly Sample[]): Sample | undefined {
  let best: Sample | undefined;
  for (const sample of samples) {
    if (best === undefined || sample.roundTripMs <= best.roundTripMs) best = sample;
  }
  return best;
}
