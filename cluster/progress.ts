/** What is going on, on stderr: one line that is redrawn on a terminal, else a line for each change. */
export class Progress {
  #shown = '';

  show(line: string): void {
    if (line === this.#shown) return;
    // A line that wraps could not be redrawn.
    const fitting = line.slice(0, process.stderr.columns - 1);
    process.stderr.write(process.stderr.isTTY ? `\r\u001B[2K${fitting}` : `${line}\n`);
    this.#shown = line;
  }

  /** Leaves the terminal's line free for what comes next. */
  end(): void {
    if (process.stderr.isTTY && this.#shown !== '') process.stderr.write('\r\u001B[2K');
    this.#shown = '';
  }
}
