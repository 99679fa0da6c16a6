import type { DescribedCommand } from './description.js';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** The script that completes these commands in a shell. */
export function scriptFor(shell: Shell, commands: readonly DescribedCommand[]): string {
  switch (shell) {
    case 'bash':
      return bash(commands);
    case 'zsh':
      return zsh(commands);
    case 'fish':
      return fish(commands);
  }
}

/** What the user has typed of a command: ` add service`. */
const typed = ({ path }: DescribedCommand) => path.map((word) => ` ${word}`).join('');

/** Without an answer of ours the shell completes names of files. */
function bash(commands: readonly DescribedCommand[]): string {
  return `# bash completion for millrace; made by: millrace completion bash
_millrace() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local command="" candidates="" index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "$command \${COMP_WORDS[index]}" in
      ${knownPaths(commands)}) command+=" \${COMP_WORDS[index]}" ;;
    esac
  done
  case "$command:$previous" in
${valuesOf(commands, (choices) => `candidates="${choices.join(' ')}"`, 'return')}
    *)
      case "$command" in
${commands.map((command) => `        "${typed(command)}") candidates="${words(command).join(' ')}" ;;`).join('\n')}
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$candidates" -- "$current"))
}
complete -o bashdefault -o default -F _millrace millrace
`;
}

function zsh(commands: readonly DescribedCommand[]): string {
  const entry = (name: string, summary: string) =>
    quoted(`${name.replaceAll(':', '\\:')}:${summary.replaceAll(':', '\\:')}`);
  const branch = (command: DescribedCommand) => {
    const nested = command.nested.map((name) => entry(name, summaryOf(commands, command, name)));
    const options = command.options.map(({ flag, summary }) => entry(flag, summary));
    return `        ${quoted(typed(command))})
          names=(${[...nested, ...command.choices.map((name) => entry(name, ''))].join(' ')})
          options=(${options.join(' ')})
          ;;`;
  };
  return `#compdef millrace
# zsh completion for millrace; made by: millrace completion zsh
_millrace() {
  local typed="" word
  local -a names options
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$typed $word" in
      ${knownPaths(commands)}) typed+=" $word" ;;
    esac
  done
  case "$typed:\${words[CURRENT-1]}" in
${valuesOf(commands, (choices) => `compadd -- ${choices.join(' ')}`, '_files')}
    *)
      case "$typed" in
${commands.map(branch).join('\n')}
      esac
      if [[ "\${words[CURRENT]}" == -* ]]; then
        _describe option options
      elif (( \${#names} )); then
        _describe command names
      else
        _files
      fi
      ;;
  esac
}
if [ "\${funcstack[1]}" = "_millrace" ]; then
  _millrace "$@"
else
  compdef _millrace millrace
fi
`;
}

function fish(commands: readonly DescribedCommand[]): string {
  const lines = commands.flatMap((command) => {
    const seen = command.path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    const here = command.path.length === 0 ? '__fish_use_subcommand' : seen;
    const away = command.nested.length === 0 ? '' : `; and not __fish_seen_subcommand_from`;
    const nested = command.nested.map((name) => {
      const condition =
        command.path.length === 0 ? here : `${here}${away} ${command.nested.join(' ')}`;
      const summary = summaryOf(commands, command, name);
      return `complete -c millrace -f -n ${quoted(condition)} -a ${name} -d ${quoted(summary)}`;
    });
    const choices = command.choices.map(
      (name) => `complete -c millrace -f -n ${quoted(here)} -a ${name}`,
    );
    const options = command.options.map(({ flag, summary, takesValue, choices: values }) => {
      const value = values.length > 0 ? ` -x -a ${quoted(values.join(' '))}` : ' -r';
      return `complete -c millrace -n ${quoted(here)} -l ${flag.slice(2)}${takesValue ? value : ''} -d ${quoted(summary)}`;
    });
    return [...nested, ...choices, ...options];
  });
  return `# fish completion for millrace; made by: millrace completion fish\n${lines.join('\n')}\n`;
}

/** A case pattern of everything that leads to a command. */
function knownPaths(commands: readonly DescribedCommand[]): string {
  return commands
    .filter(({ path }) => path.length > 0)
    .map((command) => `"${typed(command)}"`)
    .join('|');
}

/** The arms of a case over `command:word before`, for options that take a value. */
function valuesOf(
  commands: readonly DescribedCommand[],
  offer: (choices: readonly string[]) => string,
  otherwise: string,
): string {
  const arms = commands.flatMap((command) =>
    command.options
      .filter(({ takesValue }) => takesValue)
      .map(({ flag, choices }) => {
        const then = choices.length === 0 ? otherwise : offer(choices);
        return `    "${typed(command)}:${flag}") ${then} ;;`;
      }),
  );
  return arms.join('\n');
}

/** What may come next, in one list. */
function words({ nested, choices, options }: DescribedCommand): string[] {
  return [...nested, ...choices, ...options.map(({ flag }) => flag)];
}

function summaryOf(
  commands: readonly DescribedCommand[],
  parent: DescribedCommand,
  name: string,
): string {
  const path = [...parent.path, name].join(' ');
  return commands.find((command) => command.path.join(' ') === path)?.summary ?? '';
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
