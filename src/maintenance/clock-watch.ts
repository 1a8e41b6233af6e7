import { judgeClock, type ClockJudgement } from '../core/clock-health.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';

/** Of this many recent pings the one with the shortest round trip tells the offset: its two ways were the most alike. */
const SAMPLES = 8;
/** A peer that has not answered for this long is no witness any more: its clock, or ours, may have moved. */
const FORGET_MS = 10_000;
/** Wall clocks tell whole milliseconds, and two good clocks part by less than one in the time that samples are kept. */
const SLACK_MS = 2;
/** A change of the own wall by this part of the tolerated drift is a jump: no clock runs so wrong within a second. */
const JUMP_PARTS = 10;

export interface ClockWatchOptions {
  /** The other nodes. A new array when the member list changes. */
  readonly peers: () => readonly string[];
  readonly clock: Clock;
  readonly maxDriftMs: number;
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

/** What an answered ping tells of a peer's clock. */
export interface ClockReading {
  readonly wallMs: number;
  /** What the peer says of itself. */
  readonly quarantined: boolean;
}

/** Keeps what pings tell of the peers' clocks, and judges this node's own by them. The pings are gossip's. */
export interface ClockWatch {
  /** A ping that was sent at `sentAtMs` of the monotonic clock has just been answered. The own clock is judged anew. */
  heard(nodeId: string, reading: ClockReading, sentAtMs: number): void;
  /** Judges anew without those not heard any more. Called about every second. */
  judge(): void;
  /** True while this node's clock is too far from the median: it must coordinate no writes. */
  quarantined(): boolean;
  /** From the own clock to the median; 0 while the own clock is no worse than any. */
  offsetMs(): number;
  peers(): readonly WatchedPeer[];
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
}

export function createClockWatch(options: ClockWatchOptions): ClockWatch {
  const { clock, maxDriftMs, log } = options;
  const witnesses = new Map<string, Witness>();
  let judgement: ClockJudgement = { offsetMs: 0, quarantined: false };
  /** Where the own wall was against the monotonic clock when it was last judged. */
  let judgedBaseMs = Number.NaN;

  const witnessOf = (nodeId: string): Witness => {
    let witness = witnesses.get(nodeId);
    if (witness === undefined) {
      witness = { samples: [], quarantined: false };
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
    for (const nodeId of options.peers()) {
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

  return {
    heard(nodeId, { wallMs, quarantined }, sentAtMs) {
      const witness = witnessOf(nodeId);
      const atMs = clock.monotonicMs();
      const roundTripMs = atMs - sentAtMs;
      witness.quarantined = quarantined;
      addSample(witness, { baseMs: wallMs - (sentAtMs + roundTripMs / 2), roundTripMs, atMs });
      judge();
    },
    judge,
    quarantined() {
      // A wall that has jumped since is judged before anything is stamped by it, or refused because of it.
      if (Math.abs(ownBaseMs() - judgedBaseMs) > maxDriftMs / JUMP_PARTS) judge();
      return judgement.quarantined;
    },
    offsetMs: () => judgement.offsetMs,
    peers: () =>
      options.peers().map((nodeId) => {
        const { samples, quarantined } = witnessOf(nodeId);
        const best = bestOf(samples);
        return {
          nodeId,
          offsetMs: best === undefined ? undefined : best.baseMs - ownBaseMs(),
          roundTripMs: best?.roundTripMs,
          quarantined,
        };
      }),
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
