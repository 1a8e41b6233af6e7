import { Argument, Command } from 'commander';
import { complete, COMPLETION_SCRIPTS, completionText, SHELLS, type Shell } from '../completion.js';
import { writeData } from '../output.js';

export function completionCommand(): Command {
  return new Command('completion')
    .description('print the script that completes kvctl commands in a shell')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText(
      'after',
      `
bash:  source <(kvctl completion bash)                  in ~/.bashrc
zsh:   source <(kvctl completion zsh)                   in ~/.zshrc, after compinit
fish:  kvctl completion fish | source                   in ~/.config/fish/config.fish`,
    )
    .action(async (shell: Shell) => {
      await writeData(COMPLETION_SCRIPTS[shell]);
    });
}

/** What the scripts call. The words of the command line follow `--`. */
export function completeCommand(program: Command): Command {
  return new Command('complete')
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      await writeData(completionText(complete(program, words)));
    });
}
