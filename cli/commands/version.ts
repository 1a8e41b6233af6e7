import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { printFields } from '../output.js';
import { settingsOf } from '../settings.js';

/** Of this package. */
export function releaseOf(): string {
  // The same way from dist/cli/commands in the clone and in the published package.
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

export function versionCommand(): Command {
  return new Command('version')
    .description('print the release of kvctl')
    .action(async (_options: unknown, command: Command) => {
      const release = releaseOf();
      const node = process.version;
      await printFields(
        settingsOf(command).output ?? 'table',
        [
          ['kvctl', release],
          ['node', node],
        ],
        { kvctl: release, node },
      );
    });
}
