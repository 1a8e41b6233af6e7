import { readFileSync } from 'node:fs';

/** The version of the package that this file belongs to: two folders up from the built file. */
export const RELEASE: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  }
).version;
