import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

async function examine(answer: RequestListener, args: string[] = []) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const run = await runCommand(['doctor', '--json', '--url', url, ...args], {
    environment: { PORTCULLIS_KEY: 'pcl_key' },
  });
  const report = JSON.parse(run.stdout) as { passed: boolean; gates: { gate: string; outcome: string; why: string }[] };
  return { ...run, report };
}

// What a gate that works says is in the end-to-end tests; these are the ones that do not.
describe('portcullis doctor', () => {
  test('finds everything wrong with a server that says yes to everything', async () => {
    const { code, report } = await examine((request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json', 'x-request-id': 'req_1' }).end('{}');
    });
    expect(code).toBe(1);
    expect(report.passed).toBe(false);
    const passed = report.gates.filter(({ outcome }) => outcome === 'ok').map(({ gate }) => gate);
    expect(passed).toEqual(['configuration']);
  });

  test('finds everything wrong with a server that refuses everything', async () => {
    const { code, report } = await examine((request, response) => {
      request.resume();
      response
        .writeHead(500, { 'content-type': 'application/json', 'x-request-id': 'req_1' })
        .end('{"message":"broken"}');
    });
    expect(code).toBe(1);
    expect(report.gates.filter(({ outcome }) => outcome === 'ok').map(({ gate }) => gate)).toEqual(['configuration']);
  });

  test('does not judge the configuration of this machine when the gate runs elsewhere', async () => {
    const { report } = await examine(
      (_request, response) => response.writeHead(500, { 'x-request-id': 'req_1' }).end(),
      ['--no-config', '--production'],
    );
    expect(report.gates.map(({ gate }) => gate)).not.toContain('configuration');
  });

  test('says what is missing for production', async () => {
    const { report } = await examine(
      (_request, response) => response.writeHead(500, { 'x-request-id': 'req_1' }).end(),
      ['--production'],
    );
    expect(report.gates[0]).toMatchObject({
      gate: 'configuration',
      outcome: 'FAIL',
      why: expect.stringContaining('SECRETS_KEY'),
    });
  });

  test('gives up at once when nothing answers, with exit code 4', async () => {
    const { code, stdout } = await runCommand(['doctor', '--url', 'http://127.0.0.1:1'], {
      environment: { PORTCULLIS_KEY: 'pcl_key' },
    });
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
  });
});
