import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { usageError } from '../cli-error.js';
import { examples } from '../help.js';
import { checkName } from '../new/name.js';
import {
  callingPackageManager,
  habitsOf,
  install,
  PACKAGE_MANAGERS,
  type PackageManager,
} from '../new/package-manager.js';
import { findTarballs } from '../new/packages.js';
import { exampleCall, folderExists, scaffold, TEMPLATES, type Template } from '../new/scaffold.js';
import { packageVersion } from '../package-version.js';
import { canAsk } from '../prompts.js';

interface Options {
  readonly template?: Template;
  readonly packageManager?: PackageManager;
  readonly packages?: string;
  readonly install: boolean;
  readonly yes: boolean;
}

/** `millrace new`: a project that runs. */
export function newCommand(): Command {
  return new Command('new')
    .description('make a project: contract, handlers, tests, everything that runs them')
    .argument('[name]', 'of the project and of its folder')
    .addOption(
      new Option('--template <template>', 'what it starts with (default: unary)').choices(
        Object.keys(TEMPLATES),
      ),
    )
    .addOption(
      new Option(
        '--package-manager <manager>',
        'who installs (default: the one that runs this, or npm)',
      ).choices(PACKAGE_MANAGERS),
    )
    .addOption(
      new Option('--packages <folder>', 'take Millrace from tarballs, which are copied').env(
        'MILLRACE_PACKAGES',
      ),
    )
    .option('--no-install', 'do not install the dependencies')
    .option('-y, --yes', 'ask nothing; take the defaults', false)
    .addHelpText(
      'after',
      examples(
        ['new my-service', 'asks for what the command line does not say'],
        ['new my-service --template streams --package-manager pnpm', 'asks nothing'],
        ['new my-service --yes --packages ../packages', 'with packages of your own build'],
      ),
    )
    .action(run);
}

async function run(given: string | undefined, options: Options): Promise<void> {
  if (given !== undefined) checkTarget(given);
  const { name, template, manager } = await answers(given, options);
  if (given === undefined) checkTarget(name);
  const version = packageVersion();
  const tarballs =
    // An empty variable is as good as none.
    !options.packages ? undefined : findTarballs(resolve(options.packages), { version, template });
  scaffold({ name, template, manager, packages: { version, tarballs } });
  say(`${name} is made, of template ${template}.`);
  if (options.install) {
    say(`Installing with ${manager} …`);
    await install(manager, name);
  }
  const { run: script } = habitsOf[manager];
  const steps = [
    `cd ${name}`,
    ...(options.install ? [] : [`${manager} install`]),
    `${script} dev`,
    `${exampleCall({ template, manager })}    # in another terminal`,
    `${script} test`,
  ];
  say(`\nNext:\n${steps.map((step) => `  ${step}`).join('\n')}`);
}

function checkTarget(name: string): void {
  const wrong = checkName(name);
  if (wrong) throw wrong;
  if (existsSync(name)) throw folderExists(name);
}

async function answers(name: string | undefined, options: Options) {
  const { template, packageManager: manager } = options;
  const defaults = { template: 'unary', manager: callingPackageManager() } as const;
  if (canAsk(process.stdout) && !options.yes) {
    const { ask } = await import('../new/questions.js');
    return ask({ name, template, manager }, defaults);
  }
  if (name === undefined) {
    throw usageError('the project has no name', 'Give it one: millrace new my-service');
  }
  return { name, template: template ?? defaults.template, manager: manager ?? defaults.manager };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
