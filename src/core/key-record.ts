/**
 * A key and its record, or the head of that: one of the thousands of a page. It is a class because of what V8 does with object
 * literals: once most of those that one place makes have outlived a collection, it makes all further ones in the old generation
 * (pretenuring by allocation site), and each of them keeps its bytes from being collected when they are young.
 */
export class KeyRecord {
  constructor(
    readonly key: Uint8Array,
    readonly record: Uint8Array,
  ) {}
}
