import { formatVersion, parseVersion, type Version } from './version.js';

/** A request at LINEARIZABLE: its id among all those of its key. */
export interface RequestId {
  readonly key: Uint8Array;
  readonly version: Version;
}

/** What stands for itself in a key: the unreserved characters of RFC 3986, and two that keys are often divided by. */
const PLAIN = /^[A-Za-z0-9._~:/-]*$/;

const OTHER = /[^A-Za-z0-9._~:/-]/gs;

/**
 * As people see, copy and type it: `01a204b392e8-0000-0424f10091728777@user/42`, the stamp and the whole key, its other bytes
 * as `%20`. One word to a shell.
 */
export function formatRequestId({ key, version }: RequestId): string {
  const text = Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
  return `${formatVersion(version)}@${PLAIN.test(text) ? text : text.replaceAll(OTHER, escaped)}`;
}

function escaped(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

/** The inverse of {@link formatRequestId}; undefined when the text is no request id. */
export function parseRequestId(text: string): RequestId | undefined {
  const match = /^([^@]+)@((?:[A-Za-z0-9._~:/-]|%[0-9A-Fa-f]{2})+)$/.exec(text);
  const version = parseVersion(match?.[1] ?? '');
  if (match === null || version === undefined) return undefined;
  const bytes = (match[2] as string).replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return { key: Buffer.from(bytes, 'latin1'), version };
}
