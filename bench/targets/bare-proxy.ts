import { fileURLToPath } from 'node:url';
import { startChild } from '../harness/children.ts';
import type { Target } from './target.ts';

const server = fileURLToPath(new URL('bare-proxy/main.ts', import.meta.url));

/** `node:http` and undici's `stream`, without a single check: what the gate's guards are compared with. */
export const bareProxy: Target = {
  name: 'bare-proxy',
  async start({ mockUrl, logFile }) {
    const child = startChild([process.execPath, server, mockUrl], {
      name: 'the bare proxy',
      side: 'target',
      logFile,
      talks: true,
    });
    const { port } = JSON.parse(await child.line()) as { port: number };
    return {
      url: `http://127.0.0.1:${port}`,
      pid: child.pid,
      databasePid: null,
      headers: { anthropic: {}, chat: {} },
      alive: () => child.alive(),
      stop: () => child.stop(),
    };
  },
};
