/** What a run did, as a running hash of every step; and as text, for those who ask for it. */
export class Trace {
  #high = 0x2545f491;
  #low = 0x9e3779b9;
  readonly #lines: string[] | undefined;
  readonly #keep: number;

  /** `keepLines`: how many of the last lines to keep as text. 0: none, which is fast. */
  constructor(keepLines = 0) {
    this.#keep = keepLines;
    this.#lines = keepLines === 0 ? undefined : [];
  }

  /** Whether {@link say} keeps anything; whoever composes long lines asks first. */
  get textual(): boolean {
    return this.#lines !== undefined;
  }

  /** Takes a number into the hash. */
  mix(value: number): void {
    const word = Math.imul((value | 0) ^ this.#low, 0x85ebca6b);
    this.#low = (this.#high + ((word << 13) | (word >>> 19))) | 0;
    this.#high = Math.imul(this.#high ^ word ^ (word >>> 16), 0xc2b2ae35);
  }

  /** Takes a moment into the hash: microseconds, so that fractions of a millisecond count. */
  mixMs(valueMs: number): void {
    const micros = Math.round(valueMs * 1_000);
    this.mix(micros);
    this.mix(Math.floor(micros / 0x1_0000_0000));
  }

  mixText(text: string): void {
    for (let i = 0; i < text.length; i++) this.mix(text.charCodeAt(i));
  }

  say(nowMs: number, who: string, what: string): void {
    if (this.#lines === undefined) return;
    this.#lines.push(`${nowMs.toFixed(3).padStart(11)} ${who.padEnd(4)} ${what}`);
    if (this.#lines.length > 2 * this.#keep) this.#lines.splice(0, this.#lines.length - this.#keep);
  }

  /** The last lines, oldest first. */
  lines(): readonly string[] {
    return this.#lines?.slice(-this.#keep) ?? [];
  }

  /** 16 hexadecimal characters. */
  hash(): string {
    return [this.#high, this.#low]
      .map((word) => (word >>> 0).toString(16).padStart(8, '0'))
      .join('');
  }
}
