import { open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { usageError } from './failure.js';

/**
 * A file that appears whole or not at all: written beside its place, synced, then renamed. What is no ordinary file (a pipe,
 * a device) is written as it is: renaming would put a file in its stead.
 */
export class OutputFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  /** Undefined for what is written in place. */
  readonly #part: string | undefined;

  private constructor(path: string, part: string | undefined, handle: FileHandle) {
    this.#path = path;
    this.#part = part;
    this.#handle = handle;
  }

  /** Throws what the system says of the folder. */
  static async open(path: string): Promise<OutputFile> {
    // Of a link, what it names is replaced, not the link.
    const place = await realpath(path).catch(() => path);
    const there = await stat(place).catch(() => undefined);
    if (there?.isDirectory() === true) throw usageError(`${path} is a directory, not a file`);
    const isOrdinary = there === undefined || there.isFile();
    const part = isOrdinary ? `${place}.${process.pid}.part` : undefined;
    return new OutputFile(place, part, await open(part ?? place, 'w'));
  }

  async write(text: string): Promise<void> {
    await this.#handle.appendFile(text);
  }

  async commit(): Promise<void> {
    if (this.#part !== undefined) await this.#handle.sync();
    await this.#handle.close();
    if (this.#part !== undefined) await rename(this.#part, this.#path);
  }

  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    if (this.#part !== undefined) await rm(this.#part, { force: true });
  }
}
