import type { Evidence, Violation } from './evidence.js';

const LAW = '(d) after healing all replicas are equal';

/** Law (d). In the end every replica of a key holds the same bytes or nothing, and nobody else holds any. */
export function checkEqual(evidence: Evidence): Violation[] {
  const violations: Violation[] = [];
  for (const key of [...evidence.keys, ...evidence.roundKeys]) {
    if (evidence.damaged.has(key)) continue;
    const places = evidence.replicasOf(key);
    const copies = places.map(({ node }) => {
      const copy = evidence.copies.get(node)?.get(key);
      return { node, text: copy === undefined ? 'nothing' : `${copy.version} ${copy.digest}` };
    });
    if (copies.some(({ text }) => text !== copies[0]?.text)) {
      const problem = copies.map(({ node, text }) => `${node} has ${text}`).join(', ');
      violations.push({ law: LAW, key, problem, entries: [] });
    }
    for (const [node, held] of evidence.copies) {
      if (held.has(key) && !places.some((place) => place.node === node)) {
        const problem = `${node} holds it and is none of its replicas`;
        violations.push({ law: LAW, key, problem, entries: [] });
      }
    }
  }
  return violations;
}
