import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

/**
 * Compares with `test/core/golden/<name>`: what lies on the disks of others and may never change. With UPDATE_GOLDEN=1 the
 * file is written instead; whoever does that breaks every existing data folder, or knows why not.
 */
export function expectGolden(name: string, lines: readonly string[]): void {
  // From dist/test/core, where this runs, to the source.
  const path = fileURLToPath(new URL(`../../../test/core/golden/${name}`, import.meta.url));
  const text = `${lines.join('\n')}\n`;
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, text);
  expect(existsSync(path) ? readFileSync(path, 'utf8') : `there is no golden file ${name}`).toBe(
    text,
  );
}
