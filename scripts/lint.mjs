// `npm run lint`: Biome over TypeScript and JSON, rustfmt and clippy over Rust. Warnings are errors.

import { dim, Failure, main, run, say } from './steps.mjs';

const manifest = ['--manifest-path', 'native/Cargo.toml'];

/** @type {[string, string[]][]} */
const checks = [
  ['npx', ['--no', 'biome', 'check', '--error-on-warnings', '.']],
  ['cargo', ['fmt', ...manifest, '--all', '--check']],
  [
    'cargo',
    [
      ...['clippy', ...manifest, '--workspace', '--all-targets', '--quiet'],
      ...['--features', 'millrace-ring/__fault', '--', '-D', 'warnings'],
    ],
  ],
];

await main(async () => {
  const failed = [];
  for (const [command, args] of checks) {
    const line = [command, ...args].join(' ');
    say(dim(line));
    const { code } = await run(command, args);
    if (code !== 0) failed.push(line);
  }
  if (failed.length > 0) throw new Failure(`Lint failed: ${failed.join('; ')}`);
  say('lint: clean');
});
