import { Argument, Command } from 'commander';
import { describeCommands } from '../completion/description.js';
import { type Shell, scriptFor, shells } from '../completion/script.js';
import { examples } from '../help.js';

/**
 * `millrace completion`: what a shell needs to complete command lines.
 *
 * @param loadCommands every command, this one among them
 */
export function completionCommand(loadCommands: () => Promise<readonly Command[]>): Command {
  return new Command('completion')
    .description('print a script that completes commands and options in your shell')
    .addArgument(new Argument('<shell>', 'which shell it is for').choices(shells))
    .addHelpText(
      'after',
      examples(
        ['completion bash >> ~/.bashrc', 'bash'],
        ['completion zsh > ~/.zfunc/_millrace  # with fpath+=~/.zfunc before compinit', 'zsh'],
        ['completion fish > ~/.config/fish/completions/millrace.fish', 'fish'],
      ),
    )
    .action(async (shell: Shell) => {
      process.stdout.write(scriptFor(shell, describeCommands(await loadCommands())));
    });
}
