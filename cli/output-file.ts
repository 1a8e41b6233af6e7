import { open, rename, rm, type FileHandle } from 'node:fs/promises';

/** A file that appears whole or not at all: written beside its place, synced, then renamed. */
export class OutputFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #part: string;

  private constructor(path: string, part: string, handle: FileHandle) {
    this.#path = path;
    this.#part = part;
    this.#handle = handle;
  }

  /** Throws what the system says of the folder. */
  static async open(path: string): Promise<OutputFile> {
    const part = `${path}.${process.pid}.part`;
    return new OutputFile(path, part, await open(part, 'w'));
  }

  async write(text: string): Promise<void> {
    await this.#handle.appendFile(text);
  }

  async commit(): Promise<void> {
    await this.#handle.sync();
    await this.#handle.close();
    await rename(this.#part, this.#path);
  }

  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.#part, { force: true });
  }
}
