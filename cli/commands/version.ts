import { Command } from 'commander';
import { RELEASE } from '../../src/release.js';
import { printFields } from '../output.js';
import { settingsOf } from '../settings.js';

export function versionCommand(): Command {
  return new Command('version')
    .description('print the release of kvctl')
    .action(async (_options: unknown, command: Command) => {
      const node = process.version;
      await printFields(
        settingsOf(command).output ?? 'table',
        [
          ['kvctl', RELEASE],
          ['node', node],
        ],
        { kvctl: RELEASE, node },
      );
    });
}
