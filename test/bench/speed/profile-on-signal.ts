import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startProfile, type StopProfile } from './profiles.js';

// Loaded into a node before it starts (node --import): on SIGUSR2 it begins a V8 CPU profile, on the next one it writes it to
// $QUORATE_PROFILE_FOLDER/node.cpuprofile.

const folder = process.env['QUORATE_PROFILE_FOLDER'] ?? '.';
let stop: StopProfile | undefined;

process.on('SIGUSR2', () => {
  if (stop === undefined) {
    stop = startProfile();
  } else {
    void write(stop);
    stop = undefined;
  }
});

async function write(end: StopProfile): Promise<void> {
  const profile = await end();
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'node.cpuprofile');
  // Renamed when whole: who waits for it must not read half of it.
  writeFileSync(`${file}.part`, JSON.stringify(profile));
  renameSync(`${file}.part`, file);
}
