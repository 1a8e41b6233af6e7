import type { Node } from 'oxc-parser';
import { place, walk, type SourceFile } from './source-tree.js';

/** Words that say nothing about what a thing decides. */
const BANNED_WORDS = new Set(['helper', 'helpers', 'manager', 'managers', 'util', 'utils']);

/** `fooBarBaz`, `foo-bar.ts`, `FOO_BAR` and `XMLThing` as words. */
function wordsOf(name: string): string[] {
  return name
    .replaceAll(/([a-z0-9])([A-Z])|([A-Z])(?=[A-Z][a-z])/g, '$1$3 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
}

function bannedWord(name: string): string | undefined {
  return wordsOf(name).find((word) => BANNED_WORDS.has(word));
}

/** Banned words in the path of the file and in the names that it makes up itself. */
export function nameViolations(file: SourceFile): string[] {
  const complaints = [...file.unreadable];
  const inPath = bannedWord(file.path);
  if (inPath !== undefined) complaints.push(`${file.path}: "${inPath}" in its name`);
  walk(file.program, (node, parent) => {
    if (node.type !== 'Identifier' && node.type !== 'PrivateIdentifier') return;
    const word = bannedWord(node.name);
    if (word === undefined || isForeign(node, parent)) return;
    complaints.push(`${place(file, node)}: "${word}" in ${node.name}`);
  });
  return complaints;
}

/** True for a name that others chose: the member of an object, or what a module exports. */
function isForeign(node: Node, parent: Node | undefined): boolean {
  switch (parent?.type) {
    case 'MemberExpression':
      return parent.property === node && !parent.computed;
    case 'ImportSpecifier':
      return parent.imported === node && parent.local !== node;
    default:
      return false;
  }
}
