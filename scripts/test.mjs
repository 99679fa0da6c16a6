// `npm test`: builds what is stale, runs the Rust tests and each workspace's vitest, and ends with
// one line, `N passed, N failed`. A suite that cannot run counts as one failure.
//
//   npm test -- rust          the Rust tests only
//   npm test -- test          one workspace only (framework, examples/echo, test, …)

import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setup } from './setup.mjs';
import { bold, dim, Failure, main, root, run, say, seconds } from './steps.mjs';

/** @typedef {{ passed: number, failed: number, skipped: number, note?: string }} Outcome */

/**
 * @param {Record<string, string>} env
 * @returns {Promise<Outcome>}
 */
async function rust(env) {
  const { code, output } = await run(
    'cargo',
    [
      ...['test', '--manifest-path', 'native/Cargo.toml', '--workspace', '--no-fail-fast'],
      // The driver that misbehaves on purpose, for the tests of faults.
      ...['--features', 'millrace-ring/__fault'],
    ],
    { capture: true, env },
  );
  const outcome = { passed: 0, failed: 0, skipped: 0 };
  // A test that runs its own binary again, for a process of its own, filters the others out.
  for (const line of output.matchAll(
    /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;.* 0 filtered out/gm,
  )) {
    outcome.passed += Number(line[1]);
    outcome.failed += Number(line[2]);
    outcome.skipped += Number(line[3]);
  }
  // A test binary that does not compile or that crashes prints no result line.
  if (code !== 0 && outcome.failed === 0) {
    return { ...outcome, failed: 1, note: `cargo test ended with code ${code}` };
  }
  if (outcome.passed + outcome.failed === 0) {
    return { ...outcome, failed: 1, note: 'cargo test ran no test' };
  }
  return outcome;
}

/**
 * @param {string} workspace
 * @param {string} scratch
 * @param {Record<string, string>} env
 * @returns {Promise<Outcome>}
 */
async function vitest(workspace, scratch, env) {
  const report = join(scratch, `${workspace.replaceAll('/', '-')}.json`);
  const { code } = await run(
    'npm',
    [
      ...['test', '--workspace', workspace, '--'],
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    ],
    { env },
  );
  /** @type {Record<string, unknown>} */
  let result;
  try {
    result = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0, note: `vitest left no report (code ${code})` };
  }
  const outcome = {
    passed: Number(result['numPassedTests']),
    failed: Number(result['numFailedTests']),
    skipped: Number(result['numPendingTests']) + Number(result['numTodoTests']),
  };
  // A file that fails to load has no tests to count, and an error outside any test has no test.
  const unloaded = /** @type {{ status: string, assertionResults: unknown[] }[]} */ (
    result['testResults']
  ).filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
  if (unloaded > 0) {
    outcome.failed += unloaded;
    return { ...outcome, note: `${unloaded} file(s) failed to load` };
  }
  if (code !== 0 && outcome.failed === 0) {
    return { ...outcome, failed: 1, note: `vitest ended with code ${code}` };
  }
  return outcome;
}

/** Some tests run a program as another user, who has to get at what lies in the temporary folder. */
const OTHERS_PASS = 0o711;

/** The workspaces that hold vitest tests. */
function workspaces() {
  const folders = ['framework', 'native', 'test'];
  for (const group of ['services', 'examples']) {
    if (!existsSync(join(root, group))) continue;
    folders.push(...readdirSync(join(root, group)).map((name) => `${group}/${name}`));
  }
  return folders.filter((folder) => {
    const manifest = join(root, folder, 'package.json');
    if (!existsSync(manifest)) return false;
    return String(JSON.parse(readFileSync(manifest, 'utf8')).scripts?.test).includes('vitest');
  });
}

/**
 * A failure more if a suite has left something of ours in the temporary folder, which it has for
 * itself.
 *
 * @param {Outcome} outcome
 * @param {string} temporary
 * @returns {Outcome}
 */
function tidied(outcome, temporary) {
  const left = readdirSync(temporary).filter((name) => /millrace/.test(name));
  if (left.length === 0) return outcome;
  const shown = left.slice(0, 5).join(', ');
  return {
    ...outcome,
    failed: outcome.failed + 1,
    note: `${outcome.note === undefined ? '' : `${outcome.note}; `}${left.length} left in the temporary folder: ${shown}`,
  };
}

await main(async () => {
  const wanted = process.argv.slice(2);
  const suites = ['rust', ...workspaces()];
  const unknown = wanted.find((name) => !suites.includes(name));
  if (unknown !== undefined) {
    throw new Failure(`There is no suite \`${unknown}\`; there are: ${suites.join(', ')}.`);
  }
  await setup();
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  chmodSync(scratch, OTHERS_PASS);
  /** @type {[string, Outcome, number][]} */
  const results = [];
  try {
    for (const suite of suites) {
      if (wanted.length > 0 && !wanted.includes(suite)) continue;
      say(`\n${bold(suite)}`);
      const start = performance.now();
      const temporary = mkdtempSync(join(scratch, 'tmp-'));
      chmodSync(temporary, OTHERS_PASS);
      const env = { TMPDIR: temporary };
      const outcome = suite === 'rust' ? await rust(env) : await vitest(suite, scratch, env);
      results.push([suite, tidied(outcome, temporary), performance.now() - start]);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }

  say('');
  const total = { passed: 0, failed: 0 };
  for (const [suite, { passed, failed, skipped, note }, elapsed] of results) {
    total.passed += passed;
    total.failed += failed;
    const tail = skipped > 0 ? `, ${skipped} skipped` : '';
    say(
      `${suite.padEnd(16)} ${passed} passed, ${failed} failed${tail} ${dim(seconds(elapsed))}${note === undefined ? '' : `  ${note}`}`,
    );
  }
  say(`${total.passed} passed, ${total.failed} failed`);
  if (total.failed > 0) process.exitCode = 1;
});
