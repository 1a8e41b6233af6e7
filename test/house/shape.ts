import { posix } from 'node:path';
import { place, walk, type SourceFile } from './source-tree.js';

const MAX_LINES = 400;

/** What else stands at the top; names that start with a dot belong to tools. */
const TOP = new Set([
  'proto',
  'src',
  'cli',
  'cluster',
  'test',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'README.md',
  'LICENSE',
  'dist',
  'node_modules',
]);

/** A tool insists on these: vitest on its configuration, generated code on how it imports protobufjs. */
const MAY_EXPORT_DEFAULT = new Set(['test/vitest.config.ts', 'src/wire/protobuf.ts']);

/** Names at the top of the repository that have no place there. */
export function topViolations(names: readonly string[]): string[] {
  return names
    .filter((name) => !TOP.has(name) && !name.startsWith('.') && !name.endsWith('.tgz'))
    .map((name) => `${name}: has no place at the top`);
}

/** Folders that hold files or folders and do not open with a README.md. */
export function readmeViolations(paths: readonly string[]): string[] {
  const present = new Set(paths);
  const folders = new Set<string>();
  for (const path of paths) {
    for (let at = posix.dirname(path); at !== '.'; at = posix.dirname(at)) folders.add(at);
  }
  return [...folders]
    .filter((folder) => !present.has(`${folder}/README.md`))
    .sort()
    .map((folder) => `${folder}: has no README.md`);
}

/** A file that is too long decides more than one thing. */
export function lengthViolations(file: SourceFile): string[] {
  const lines = file.text.trimEnd().split('\n').length;
  return lines > MAX_LINES ? [`${file.path}: ${lines} lines, the limit is ${MAX_LINES}`] : [];
}

export function defaultExportViolations(file: SourceFile): string[] {
  if (MAY_EXPORT_DEFAULT.has(file.path)) return [];
  const complaints = [...file.unreadable];
  walk(file.program, (node) => {
    const isDefault =
      node.type === 'ExportDefaultDeclaration' ||
      node.type === 'TSExportAssignment' ||
      (node.type === 'ExportSpecifier' && nameOf(node.exported) === 'default');
    if (isDefault) complaints.push(`${place(file, node)}: exports a default`);
  });
  return complaints;
}

function nameOf(node: { readonly name?: string; readonly value?: unknown }): unknown {
  return node.name ?? node.value;
}
