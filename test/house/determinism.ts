import type { Node } from 'oxc-parser';
import { place, walk, type SourceFile } from './source-tree.js';

/** Real time and chance live here, behind ports. */
const ALLOWED_FOLDER = 'src/io/';

/** Names that mean real time or chance wherever they stand. */
const BANNED_NAMES = new Set([
  'setTimeout',
  'setInterval',
  'setImmediate',
  'nextTick',
  'hrtime',
  'performance',
  'getRandomValues',
  'randomBytes',
  'randomFill',
  'randomFillSync',
  'randomInt',
  'randomUUID',
  'webcrypto',
]);

const BANNED_MODULES = /^(node:(timers|perf_hooks)|timers\/promises|perf_hooks)/;

/** Objects that may be used only in these ways; anything else could carry their clock or dice away under another name. */
const ALLOWED_MEMBERS: Readonly<Record<string, (member: string) => boolean>> = {
  Date: (member) => member === 'UTC' || member === 'parse',
  Math: (member) => member !== 'random',
  AbortSignal: (member) => member === 'any' || member === 'abort',
  process: (member) => member !== 'uptime',
};

/** Where a file reaches for real time or chance instead of taking Clock, Timers and Random. */
export function determinismViolations(file: SourceFile): string[] {
  if (file.path.startsWith(ALLOWED_FOLDER)) return [];
  const complaints = [...file.unreadable];
  walk(file.program, (node, parent) => {
    const found = banned(node, parent);
    if (found !== undefined) {
      complaints.push(`${place(file, node)}: ${found}, and only src/io touches time and chance`);
    }
  });
  return complaints;
}

function banned(node: Node, parent: Node | undefined): string | undefined {
  if (node.type === 'Literal' && typeof node.value === 'string') {
    // As a module, or as a name in brackets.
    if (BANNED_MODULES.test(node.value)) return `names the module ${node.value}`;
    const isMember = parent?.type === 'MemberExpression' && parent.computed;
    return isMember && BANNED_NAMES.has(node.value) ? `uses ${node.value}` : undefined;
  }
  if (node.type !== 'Identifier') return undefined;
  if (BANNED_NAMES.has(node.name)) return `uses ${node.name}`;
  const isAllowed = Object.hasOwn(ALLOWED_MEMBERS, node.name)
    ? ALLOWED_MEMBERS[node.name]
    : undefined;
  if (isAllowed === undefined || isProperty(node, parent)) return undefined;
  return isHarmless(node, parent, isAllowed)
    ? undefined
    : `uses ${node.name} as only the real one can be`;
}

/** True for `x.Date` and `{ Date: … }`, which are not the global. */
function isProperty(node: Node, parent: Node | undefined): boolean {
  if (parent?.type === 'MemberExpression') {
    return parent.property === node && !parent.computed && !isGlobalObject(parent.object);
  }
  return parent?.type === 'Property' && parent.key === node && !parent.shorthand;
}

function isGlobalObject(node: Node): boolean {
  return node.type === 'Identifier' && (node.name === 'globalThis' || node.name === 'global');
}

function isHarmless(
  node: Node,
  parent: Node | undefined,
  isAllowed: (member: string) => boolean,
): boolean {
  switch (parent?.type) {
    case 'NewExpression':
      // `new Date(ms)` is arithmetic; `new Date()` is the time.
      return parent.callee === node && parent.arguments.length > 0;
    case 'TSTypeReference':
    case 'TSQualifiedName':
      return true;
    case 'BinaryExpression':
      return parent.operator === 'instanceof';
    case 'MemberExpression':
      return (
        parent.object === node &&
        parent.property.type === 'Identifier' &&
        !parent.computed &&
        isAllowed(parent.property.name)
      );
    default:
      return false;
  }
}
