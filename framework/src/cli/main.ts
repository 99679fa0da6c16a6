#!/usr/bin/env node
import module from 'node:module';

// Whoever reads our output may have had enough of it, as `head` has.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  const where = process.argv.includes('--verbose') ? error.stack : error.message;
  process.stderr.write(
    `standard output cannot be written: ${where}\nMake room where it goes, or send it elsewhere.\n`,
  );
  process.exit(1);
});

// Node.js 22.1 and later keep what they have compiled for the next start. Only what is imported from
// here on is kept.
(module as { readonly enableCompileCache?: () => unknown }).enableCompileCache?.();
const { run } = await import('./program.js');

process.exitCode = await run(process.argv.slice(2));
