import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { retell } from './narrative.js';

// Compiled tests run from dist; the narratives stay where they are read and edited. UPDATE_GOLDEN=1 rewrites them: only for
// whoever understands every line that changes.
const folder = new URL('../../../test/coordinator/golden/', import.meta.url);

const names = readdirSync(folder).filter((name) => name.endsWith('.txt'));

test.for(names.sort())('%s is told as it happened', async (name) => {
  const file = new URL(name, folder);
  const written = readFileSync(file, 'utf8');
  const told = await retell(written);
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, told);
  else expect(told).toBe(written);
});
