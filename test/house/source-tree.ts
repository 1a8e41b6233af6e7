import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, visitorKeys, type Node, type ParseResult } from 'oxc-parser';

/** The top of the repository, from dist/test/house, where this runs. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** One source file, read as a program. Rules are functions of these, so that each can be given a bad one. */
export interface SourceFile {
  /** From the top of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly program: ParseResult['program'];
  /** What the parser could not read: a rule that has not seen a file must not pass it. */
  readonly unreadable: readonly string[];
}

/** Built, installed or generated: nobody writes these. */
const NOT_OURS = /^(node_modules|dist|\.git|\.quorate|src\/wire\/generated)$/;
const SOURCE = /\.[cm]?[jt]sx?$/;

export function parseSource(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text);
  return { path, text, program, unreadable: errors.map((error) => `${path}: ${error.message}`) };
}

/** Every file under `folder`, in order. */
export function listFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .map((entry) => ({ path: `${folder}/${entry.name}`, isFolder: entry.isDirectory() }))
    .filter(({ path }) => !NOT_OURS.test(path))
    .flatMap(({ path, isFolder }) => (isFolder ? listFiles(path) : [path]))
    .sort();
}

export function readSources(folder: string): SourceFile[] {
  return listFiles(folder)
    .filter((path) => SOURCE.test(path))
    .map((path) => parseSource(path, readFileSync(join(ROOT, path), 'utf8')));
}

/** The names at the top of the repository. */
export function listTop(): string[] {
  return readdirSync(ROOT);
}

export type Visit = (node: Node, parent: Node | undefined) => void;

/** Visits every node of the program, each after the one it is in. */
export function walk(program: Node, visit: Visit): void {
  const step = (node: Node, parent: Node | undefined): void => {
    visit(node, parent);
    const keys = visitorKeys[node.type];
    if (keys === undefined) throw new Error(`The parser does not know its own ${node.type}.`);
    for (const key of keys) {
      const child = (node as unknown as Record<string, Node | (Node | null)[] | null>)[key];
      for (const each of Array.isArray(child) ? child : [child]) {
        if (each !== null && each !== undefined) step(each, node);
      }
    }
  };
  step(program, undefined);
}

/** `path:line`, for a complaint. */
export function place(file: SourceFile, node: Node): string {
  return `${file.path}:${file.text.slice(0, node.start).split('\n').length}`;
}
