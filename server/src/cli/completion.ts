import { Argument, Command } from 'commander';
import { type CliContext, CliError } from './context.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof shells)[number];

/** `portcullis completion`: a script that completes commands and options, made from the commands themselves. */
export function completionCommand(context: CliContext): Command {
  const command = new Command('completion');
  return command
    .description('print a script that completes commands and options in your shell')
    .addArgument(new Argument('<shell>').choices(shells))
    .addHelpText(
      'after',
      `
bash   source <(portcullis completion bash)
zsh    source <(portcullis completion zsh)     after compinit
fish   portcullis completion fish | source`,
    )
    .action((shell: Shell) => {
      if (command.parent === null) throw new CliError('Completion is for the whole program.');
      context.stdout.write(scripts[shell](levelsOf(command.parent, '')));
    });
}

/** What can follow the commands that were typed so far. */
interface Level {
  /** The commands so far, each behind a space: `` or ` keys create`. */
  readonly path: string;
  readonly words: readonly Word[];
}

interface Word {
  readonly text: string;
  readonly description: string;
  readonly isCommand: boolean;
}

function levelsOf(command: Command, path: string): Level[] {
  const help = command.createHelp();
  const children = help.visibleCommands(command).filter((child) => child.name() !== 'help');
  const words = [
    ...children.map((child) => ({ text: child.name(), description: child.description(), isCommand: true })),
    ...command.registeredArguments.flatMap(({ argChoices, description }) =>
      (argChoices ?? []).map((text) => ({ text, description, isCommand: false })),
    ),
    ...help
      .visibleOptions(command)
      .flatMap(({ long, description }) => (long ? [{ text: long, description, isCommand: false }] : [])),
  ];
  return [{ path, words }, ...children.flatMap((child) => levelsOf(child, `${path} ${child.name()}`))];
}

const scripts: Readonly<Record<Shell, (levels: readonly Level[]) => string>> = {
  bash: (levels) => `_portcullis() {
  local path="" words="" at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case "$path \${COMP_WORDS[at]}" in
      ${pathPattern(levels)}) path="$path \${COMP_WORDS[at]}" ;;
    esac
  done
  case "$path" in
${levels.map(({ path, words }) => `    "${path}") words="${words.map(({ text }) => text).join(' ')}" ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _portcullis portcullis
`,
  zsh: (levels) => `#compdef portcullis
_portcullis() {
  local path_so_far="" at
  local -a choices
  for ((at = 2; at < CURRENT; at++)); do
    case "$path_so_far \${words[at]}" in
      ${pathPattern(levels)}) path_so_far="$path_so_far \${words[at]}" ;;
    esac
  done
  case "$path_so_far" in
${levels.map(({ path, words }) => `    "${path}") choices=(${words.map(zshWord).join(' ')}) ;;`).join('\n')}
  esac
  _describe portcullis choices || _files
}
compdef _portcullis portcullis
`,
  fish: (levels) => `function __portcullis_path
  set -l path ""
  for word in (commandline -opc)[2..]
    switch "$path $word"
      case ${levels
        .slice(1)
        .map(({ path }) => `"${path}"`)
        .join(' ')}
        set path "$path $word"
    end
  end
  echo -- "$path"
end
${levels.flatMap(({ path, words }) => words.map((word) => fishLine(path, word))).join('\n')}
`,
};

function pathPattern(levels: readonly Level[]): string {
  return levels
    .slice(1)
    .map(({ path }) => `"${path}"`)
    .join(' | ');
}

function zshWord({ text, description }: Word): string {
  return quoted(`${text.replaceAll(':', '\\:')}:${description}`);
}

function fishLine(path: string, { text, description }: Word): string {
  const word = text.startsWith('--') ? `-l ${text.slice(2)}` : `-f -a ${quoted(text)}`;
  return `complete -c portcullis -n 'test (__portcullis_path) = "${path}"' ${word} -d ${quoted(description)}`;
}

// In single quotes a shell takes all as it stands, but for the quote itself; a typographic one needs no escape.
function quoted(text: string): string {
  return `'${text.replaceAll("'", '’').replaceAll('\\', '').replaceAll('\n', ' ')}'`;
}
