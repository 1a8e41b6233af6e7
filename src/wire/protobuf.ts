import protobuf from 'protobufjs/minimal.js';

// protobufjs finds `long` in node_modules by itself and would then decode 64-bit fields to objects; without it they are
// numbers, exact up to 2^53, which bounds every field of ours.
protobuf.util.Long = null as never;
protobuf.configure();

// The generated code takes its runtime as a default import (pbjs --dependency).
export { protobuf as default };
