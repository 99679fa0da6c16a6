import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { Supervisor } from './supervisor.js';

test('a program that cannot be started is told, and waited for by nobody', async () => {
  const { execPath } = process;
  const descriptor = openSync(devNull, 'r');
  onTestFinished(() => {
    process.execPath = execPath;
    closeSync(descriptor);
  });
  // As after an upgrade of Node.js that removes the one that runs.
  process.execPath = '/no/such/node';
  const ignore = () => {};
  const supervisor = new Supervisor(descriptor, '127.0.0.1:1', ignore, ignore, 0, false);
  const failure = await new Promise((resolve) => {
    void supervisor.replace(pathToFileURL('/main.js').href, resolve, ignore);
  });
  expect(failure).toBe('it cannot be started: spawn /no/such/node ENOENT');
  await supervisor.end();
});
