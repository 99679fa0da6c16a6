import { cancel, isCancel, select, text } from '@clack/prompts';
import { CliError } from '../cli-error.js';
import { checkName } from './name.js';
import { PACKAGE_MANAGERS, type PackageManager } from './package-manager.js';
import { TEMPLATES, type Template } from './scaffold.js';

/** What can be asked for; what the command line says already is not. */
export interface Answers {
  readonly name: string | undefined;
  readonly template: Template | undefined;
  readonly manager: PackageManager | undefined;
}

/**
 * Asks on the terminal for what is undefined.
 *
 * @throws CliError if the user gives up
 */
export async function ask(
  known: Answers,
  defaults: { readonly manager: PackageManager },
): Promise<{ [K in keyof Answers]: NonNullable<Answers[K]> }> {
  const name =
    known.name ??
    answered(
      await text({
        message: 'What is the project called?',
        placeholder: 'my-service',
        validate: (given) => checkName(given ?? '')?.message,
      }),
    );
  const template =
    known.template ??
    answered(
      await select({
        message: 'What does it start with?',
        options: (Object.keys(TEMPLATES) as Template[]).map((value) => {
          return { value, label: value, hint: TEMPLATES[value] };
        }),
      }),
    );
  const manager =
    known.manager ??
    answered(
      await select({
        message: 'Which package manager?',
        initialValue: defaults.manager,
        options: PACKAGE_MANAGERS.map((value) => ({ value, label: value })),
      }),
    );
  return { name, template, manager };
}

function answered<T>(answer: T): Exclude<T, symbol> {
  if (!isCancel(answer)) return answer as Exclude<T, symbol>;
  cancel('Nothing was made.');
  throw new CliError('given up');
}
