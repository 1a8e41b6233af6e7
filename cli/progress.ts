import { SingleBar } from 'cli-progress';
import { formatCount, formatDuration } from './durations.js';
import { note } from './output.js';

/** What a long command shows on stderr while it runs: a bar on a terminal, else a line every few seconds. */
export interface Progress {
  /** How much is done, in the unit of `total`, and how many items that is. */
  update(done: number, items: number): void;
  /** Above the bar, or as a line of its own. */
  note(line: string): void;
  stop(): void;
}

export interface ProgressOptions {
  readonly verb: string;
  /** What is counted: records, keys, operations. */
  readonly items: string;
  /** Undefined: nobody knows, so there is no bar and no time left. */
  readonly total: number | undefined;
  /** What was done in an earlier run, and says nothing of the rate of this one. */
  readonly startDone?: number;
  readonly startItems?: number;
}

const BAR_EVERY_MS = 200;
const LINE_EVERY_MS = 5_000;

export function startProgress(options: ProgressOptions): Progress {
  const meter = new RateMeter(options, performance.now());
  return process.stderr.isTTY ? barProgress(options, meter) : lineProgress(meter);
}

/** Rate and time left, from what was done since the start. Time is passed in. */
export class RateMeter {
  #done: number;
  #items: number;

  constructor(
    readonly options: ProgressOptions,
    private readonly startedMs: number,
  ) {
    this.#done = options.startDone ?? 0;
    this.#items = options.startItems ?? 0;
  }

  get done(): number {
    return this.#done;
  }

  update(done: number, items: number): void {
    this.#done = done;
    this.#items = items;
  }

  line(nowMs: number): string {
    const { verb, items, total, startDone = 0, startItems = 0 } = this.options;
    const seconds = Math.max(nowMs - this.startedMs, 1) / 1_000;
    const rate = (this.#items - startItems) / seconds;
    const doneRate = (this.#done - startDone) / seconds;
    const left =
      total === undefined || doneRate <= 0
        ? ''
        : `, ${formatDuration(Math.ceil((total - this.#done) / doneRate) * 1_000)} left`;
    const share = total === undefined || total === 0 ? '' : ` (${this.percent()} %)`;
    return `${verb} ${formatCount(this.#items)} ${items}${share}, ${formatCount(rate)}/s${left}`;
  }

  percent(): number {
    const { total = 0 } = this.options;
    return total === 0 ? 100 : Math.floor((this.#done / total) * 100);
  }
}

function lineProgress(meter: RateMeter): Progress {
  const timer = setInterval(() => note(meter.line(performance.now())), LINE_EVERY_MS);
  timer.unref();
  return {
    update: (done, items) => meter.update(done, items),
    note,
    stop: () => clearInterval(timer),
  };
}

function barProgress({ total }: ProgressOptions, meter: RateMeter): Progress {
  const bar = new SingleBar({
    format: total === undefined ? '{line}' : '{bar} {line}',
    stream: process.stderr,
    barsize: 24,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: true,
    linewrap: null,
    // The command ends on SIGINT in its own way, and stops the bar then.
    gracefulExit: false,
  });
  const draw = () => bar.update(meter.done, { line: meter.line(performance.now()) });
  bar.start(total ?? 1, meter.done, { line: meter.line(performance.now()) });
  const timer = setInterval(draw, BAR_EVERY_MS);
  timer.unref();
  return {
    update: (done, items) => meter.update(done, items),
    note(line) {
      // Clears what is drawn of the bar; it is drawn again below the line.
      process.stderr.write('\r\u001b[2K');
      note(line);
      draw();
    },
    stop() {
      clearInterval(timer);
      draw();
      bar.stop();
    },
  };
}
