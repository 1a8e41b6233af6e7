/** One operation. Never rejects: failures are the operation's to count. `beganMs` is when it began, or should have. */
export type Run = (beganMs: number) => Promise<void>;

/** When to stop: whichever comes first. */
export interface Extent {
  readonly operations: number;
  readonly durationMs: number;
}

/** Closed loop: `inFlight` operations at once, each followed by the next. How long it took, in ms. */
export async function runClosedLoop(run: Run, inFlight: number, extent: Extent): Promise<number> {
  const startedMs = performance.now();
  const endMs = startedMs + extent.durationMs;
  let begun = 0;
  const follow = async () => {
    while (begun < extent.operations) {
      const nowMs = performance.now();
      if (nowMs >= endMs) return;
      begun++;
      await run(nowMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, follow));
  return performance.now() - startedMs;
}

const TICK_MS = 1;

/**
 * Open loop: `perSecond` operations begin each second whether or not earlier ones have ended; those of one millisecond begin
 * together. Latency counts from when an operation was due: one that waits behind a stall has had the stall too, which a
 * closed loop would not see (coordinated omission; Tene, "How NOT to measure latency"). At most `inFlight` are under way;
 * the rest wait, and their latency runs. How long it took, in ms.
 */
export function runOpenLoop(
  run: Run,
  perSecond: number,
  inFlight: number,
  extent: Extent,
): Promise<number> {
  const total = Math.min(extent.operations, Math.floor((perSecond * extent.durationMs) / 1_000));
  const startedMs = performance.now();
  let begun = 0;
  let underWay = 0;
  return new Promise((resolve) => {
    const ended = () => {
      underWay--;
      beginWhatIsDue();
      if (begun === total && underWay === 0) resolve(performance.now() - startedMs);
    };
    const beginWhatIsDue = () => {
      const nowMs = performance.now();
      while (begun < total && underWay < inFlight) {
        const dueMs = startedMs + Math.ceil((begun * 1_000) / perSecond / TICK_MS) * TICK_MS;
        if (dueMs > nowMs) return;
        begun++;
        underWay++;
        void run(dueMs).then(ended);
      }
    };
    const tick = () => {
      beginWhatIsDue();
      if (begun < total) setTimeout(tick, TICK_MS);
    };
    if (total === 0) resolve(0);
    else tick();
  });
}
