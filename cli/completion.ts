import type { Command, Option } from 'commander';

/** What may stand at the end of a command line. */
export interface Completion {
  /** Word and description. */
  readonly words: readonly (readonly [word: string, description: string])[];
  /** Whether names of files may stand there too. */
  readonly files: boolean;
}

/** Options whose value is the name of a file. */
const FILE_PLACEHOLDER = /<(?:file|path|folder)>/i;

/**
 * Completes the last of `words`, which are what follows `kvctl` on the command line. Everything is read from the commands
 * themselves, so that nothing has to be kept up to date.
 */
export function complete(program: Command, words: readonly string[]): Completion {
  const current = words.at(-1) ?? '';
  let command = program;
  let argumentsSeen = 0;
  let valueOf: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (valueOf !== undefined) {
      valueOf = undefined;
    } else if (word.startsWith('-')) {
      const option = word.includes('=') ? undefined : findOption(command, word);
      valueOf = option !== undefined && takesValue(option) ? option : undefined;
    } else {
      const sub = command.commands.find((known) => known.name() === word);
      if (sub === undefined) argumentsSeen++;
      else command = sub;
    }
  }
  if (valueOf !== undefined) return valuesOf(valueOf, current, '');
  if (current.startsWith('-')) return completeOption(command, current);
  const commands = visibleCommands(command).map((sub) => [sub.name(), sub.description()] as const);
  const { registeredArguments } = command;
  const argument = registeredArguments[Math.min(argumentsSeen, registeredArguments.length - 1)];
  const choices = (argument?.argChoices ?? []).map((choice) => [choice, ''] as const);
  return {
    words: [...commands, ...choices].filter(([word]) => word.startsWith(current)),
    files: argument?.name() === 'file' && argumentsSeen < registeredArguments.length,
  };
}

function completeOption(command: Command, current: string): Completion {
  const assignment = /^(--[^=]+)=(.*)$/.exec(current);
  if (assignment !== null) {
    const [, name = '', value = ''] = assignment;
    const option = findOption(command, name);
    return option === undefined ? { words: [], files: false } : valuesOf(option, value, `${name}=`);
  }
  const words = optionsOf(command)
    .filter(({ hidden }) => !hidden)
    .map(({ long, short, description }) => [long ?? short ?? '', description] as const);
  return {
    words: [...words, ['--help', 'explain the command'] as const].filter(([word]) =>
      word.startsWith(current),
    ),
    files: false,
  };
}

function valuesOf(option: Option, current: string, before: string): Completion {
  const words = (option.argChoices ?? [])
    .filter((choice) => choice.toLowerCase().startsWith(current.toLowerCase()))
    .map((choice) => [before + choice, ''] as const);
  return { words, files: before === '' && FILE_PLACEHOLDER.test(option.flags) };
}

function findOption(command: Command, word: string): Option | undefined {
  return optionsOf(command).find(({ long, short }) => long === word || short === word);
}

/** The command's own options and those of all above it. */
function optionsOf(command: Command): readonly Option[] {
  return command.parent === null
    ? command.options
    : [...command.options, ...optionsOf(command.parent)];
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

function visibleCommands(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

/** A word a line, its description after a tab; a last line `:files` asks the shell for names of files. */
export function completionText({ words, files }: Completion): string {
  const lines = words.map(([word, description]) => `${word}\t${description.split('\n')[0]}\n`);
  return lines.join('') + (files ? ':files\n' : '');
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/**
 * What the shell sources. It hands the words of the command line to `kvctl complete --` one by one and never evaluates them:
 * completing must not run what somebody is only typing.
 */
export const COMPLETION_SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `# kvctl completion for bash. Add to ~/.bashrc:  source <(kvctl completion bash)
_kvctl() {
  local line word=\${COMP_WORDS[COMP_CWORD]} words=() i joined
  # bash cuts words at = and :, the commands do not.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    joined=\${COMP_WORDS[i]}
    while [[ $i -lt $COMP_CWORD && ( \${COMP_WORDS[i+1]} == [=:]* || \${COMP_WORDS[i]} == [=:] ) ]]; do
      i=$((i + 1))
      joined+=\${COMP_WORDS[i]}
    done
    words+=("$joined")
  done
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      # bash then quotes blanks and ends folders with a slash.
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$word")
    else
      line=\${line%%$'\\t'*}
      # Only what follows the last = is to be inserted.
      [[ $line == --*=* ]] && line=\${line#*=}
      COMPREPLY+=("$line")
    fi
  done < <("\${COMP_WORDS[0]}" complete -- "\${words[@]}" 2>/dev/null)
  return 0
}
complete -F _kvctl kvctl
`,
  zsh: `#compdef kvctl
# kvctl completion for zsh. Add to ~/.zshrc, after compinit:  source <(kvctl completion zsh)
_kvctl() {
  local line files=0
  local -a found
  for line in "\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == :files ]]; then
      files=1
    elif [[ -n $line ]]; then
      found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    fi
  done
  (( \${#found} )) && _describe kvctl found
  (( files )) && _files
  return 0
}
compdef _kvctl kvctl
`,
  fish: `# kvctl completion for fish. Save as ~/.config/fish/completions/kvctl.fish, or:  kvctl completion fish | source
function __kvctl_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] complete -- $words[2..-1] 2>/dev/null)
    if test "$line" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c kvctl -f -a '(__kvctl_complete)'
`,
};
