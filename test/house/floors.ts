import { posix } from 'node:path';
import type { Node } from 'oxc-parser';
import { place, walk, type SourceFile } from './source-tree.js';

interface Floor {
  /** The folders and files it may import. */
  readonly floors: readonly string[];
  /** What it may import that is not ours. */
  readonly packages: RegExp;
}

// Of Node.js itself, what decides without reaching out may use bytes and hashes; the determinism rule bars the random
// part of node:crypto.
const PURE = /^node:(buffer|crypto)$/;
const GRPC = /^(@grpc\/|protobufjs(\/|$)|grpc-health-check(\/|$)|@protobufjs\/)/;
const NO_GRPC = /^(?!@grpc\/|protobufjs|grpc-health-check|@protobufjs\/)/;
const ANY = /^/;

/** The table of `src/README.md`. A file belongs to the first entry that its path starts with; a star is a name, not a folder. */
const FLOORS: readonly (readonly [prefix: string, floor: Floor])[] = [
  ['src/core/', { floors: ['src/core/'], packages: /^(node:buffer|node:crypto|xxhash-wasm)$/ }],
  ['src/io/', { floors: ['src/core/', 'src/io/'], packages: NO_GRPC }],
  ['src/wire/', { floors: ['src/core/', 'src/io/', 'src/wire/'], packages: ANY }],
  ['src/replica/', { floors: ['src/core/', 'src/io/', 'src/replica/'], packages: PURE }],
  [
    'src/coordinator/',
    { floors: ['src/core/', 'src/io/', 'src/replica/', 'src/coordinator/'], packages: PURE },
  ],
  [
    'src/maintenance/',
    { floors: ['src/core/', 'src/io/', 'src/replica/', 'src/maintenance/'], packages: PURE },
  ],
  ['src/client/', { floors: ['src/core/', 'src/io/', 'src/wire/', 'src/client/'], packages: PURE }],
  ['src/index.ts', { floors: ['src/client/', 'src/core/'], packages: /^(?!)/ }],
  // A node is put together without the wire, so that a simulation can put it on a network of its own.
  [
    'src/node.ts',
    {
      floors: ['src/core/', 'src/io/', 'src/replica/', 'src/coordinator/', 'src/maintenance/'],
      packages: PURE,
    },
  ],
  // The rest at the top of src composes: it binds a node to the wire, the disk and the real clock.
  ['src/*', { floors: ['src/'], packages: NO_GRPC }],
  ['cli/', { floors: ['src/', 'cli/'], packages: NO_GRPC }],
  ['cluster/', { floors: ['src/', 'cli/', 'cluster/'], packages: NO_GRPC }],
];

/** Imports that go up or sideways where they must not, packages on the wrong floor, and imports that cannot be read. */
export function floorViolations(file: SourceFile): string[] {
  const floor = FLOORS.find(([prefix]) => isOn(file.path, prefix))?.[1];
  if (floor === undefined) return [`${file.path}: belongs to no floor`];
  const complaints = [...file.unreadable];
  walk(file.program, (node) => {
    const request = requestOf(node);
    if (request === undefined) return;
    const complaint =
      request === null ? 'imports what cannot be read' : problemWith(request, file.path, floor);
    if (complaint !== undefined) complaints.push(`${place(file, node)}: ${complaint}`);
  });
  return complaints;
}

function isOn(path: string, prefix: string): boolean {
  return prefix.endsWith('*')
    ? posix.dirname(path) === posix.dirname(prefix)
    : path.startsWith(prefix);
}

function problemWith(request: string, from: string, floor: Floor): string | undefined {
  if (!request.startsWith('.')) {
    if (floor.packages.test(request)) return undefined;
    return GRPC.test(request)
      ? `imports ${request}, and only src/wire knows gRPC and protobuf`
      : `imports ${request}, which has no place on this floor`;
  }
  const target = posix.join(posix.dirname(from), request);
  if (floor.floors.some((prefix) => target.startsWith(prefix))) {
    return undefined;
  }
  // A file may describe itself by its own manifest.
  return target === 'package.json' ? undefined : `imports ${target}, which is above or beside it`;
}

/** What the node imports: undefined when it imports nothing, null when that is computed. */
function requestOf(node: Node): string | null | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportAllDeclaration':
      return node.source.value;
    case 'ExportNamedDeclaration':
      return node.source?.value;
    case 'ImportExpression':
      return literal(node.source);
    case 'TSImportType':
      return literal(node.source);
    case 'TSExternalModuleReference':
      return literal(node.expression);
    case 'CallExpression':
      return node.callee.type === 'Identifier' && node.callee.name === 'require'
        ? literal(node.arguments[0])
        : undefined;
    default:
      return undefined;
  }
}

function literal(node: Node | undefined): string | null {
  return node?.type === 'Literal' && typeof node.value === 'string' ? node.value : null;
}
