import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLevelStore } from '../../src/io/level-store.js';
import { openMemoryStore } from '../../src/io/memory-store.js';
import { describeStore } from './store-contract.js';

describeStore(
  'the memory store',
  async () => openMemoryStore(),
  async () => {},
);

let folder = '';
describeStore(
  'the LevelDB store',
  async () => {
    folder = await mkdtemp(join(tmpdir(), 'quorate-store-'));
    return openLevelStore(folder);
  },
  () => rm(folder, { recursive: true, force: true }),
);
