import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startChild } from '../harness/children.ts';
import { freePort } from '../harness/free-port.ts';
import { waitUntilReady } from '../harness/ready.ts';
import type { Target } from './target.ts';

const folder = fileURLToPath(new URL('../peers/portkey', import.meta.url));
const entry = `${folder}/node_modules/@portkey-ai/gateway/build/start-server.js`;
const installMs = 180_000;
const startMs = 30_000;

/**
 * Portkey's open gateway, the Node gateway with published figures. It has no key check, limits or ledger to switch on.
 * Its own start script listens on all interfaces; there is no option for less.
 */
export const portkey: Target = {
  name: 'portkey',
  async start({ mockUrl, logFile, progress }) {
    if (!existsSync(entry)) {
      progress('installing Portkey from npm');
      const command = ['npm', 'ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
      await startChild(command, { name: 'npm ci', side: 'load', logFile, cwd: folder }).success(installMs);
    }
    const port = await freePort();
    const child = startChild([process.execPath, entry, `--port=${port}`, '--headless'], {
      name: 'Portkey',
      side: 'target',
      logFile,
      env: { NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: '127.0.0.1' },
    });
    const url = `http://127.0.0.1:${port}`;
    const isUp = () =>
      fetch(url).then(
        (response) => (response.ok ? true : null),
        () => null,
      );
    await waitUntilReady(child, startMs, isUp);
    const custom = { 'x-portkey-custom-host': `${mockUrl}/v1` };
    return {
      url,
      pid: child.pid,
      databasePid: null,
      headers: {
        chat: { ...custom, 'x-portkey-provider': 'openai', authorization: 'Bearer mock' },
        anthropic: {
          ...custom,
          'x-portkey-provider': 'anthropic',
          'x-api-key': 'mock',
          'anthropic-version': '2023-06-01',
        },
      },
      alive: () => child.alive(),
      stop: () => child.stop(),
    };
  },
};
