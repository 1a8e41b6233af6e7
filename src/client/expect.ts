import { invalidArgument } from '../core/errors.js';
import { encodeExpectation } from '../core/expectation.js';
import type { Expect } from './linearizable.js';
import { checkObject, checkVersion } from './request-options.js';

/** What a compare-and-set expects, as it travels. Throws INVALID_ARGUMENT for what is no expectation. */
export function expectationBytes<V>(
  expect: Expect<V>,
  encode: (value: V) => Uint8Array,
): Uint8Array {
  if (expect === 'absent') return encodeExpectation({ kind: 'absent' });
  checkObject('expect', expect);
  if ('version' in expect && !('value' in expect)) {
    const version = checkVersion('expect.version', expect.version);
    return encodeExpectation({ kind: 'version', version });
  }
  if ('value' in expect && !('version' in expect)) {
    return encodeExpectation({ kind: 'value', value: encode(expect.value) });
  }
  throw invalidArgument('expect', "must have a version or a value, or be 'absent'");
}
