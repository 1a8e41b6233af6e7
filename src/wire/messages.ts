import { quorate } from './generated/quorate.js';

/** The messages of `proto/quorate.proto`, as the build generates them. Nothing outside this folder sees them. */
export import v1 = quorate.v1;

/** What the two ends of a channel must agree on. A change that an older release cannot read raises it. */
export const PROTOCOL_VERSION = 2;

export const EMPTY_BYTES = new Uint8Array(0);
