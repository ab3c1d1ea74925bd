import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

/** Somebody else's server at the address of the gate. */
async function serve(answer: RequestListener): Promise<Record<string, string>> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  return { PORTCULLIS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, PORTCULLIS_KEY: 'pcl_canary' };
}

describe('a command that talks to a gate', () => {
  test('says in one line that nothing answers, with exit code 4', async () => {
    const environment = { PORTCULLIS_URL: 'http://127.0.0.1:1', PORTCULLIS_KEY: 'pcl_canary' };
    const { code, stdout, stderr } = await runCommand(['whoami'], { environment });
    expect({ code, stdout }).toEqual({ code: 4, stdout: '' });
    expect(stderr).toBe('No gate answers at http://127.0.0.1:1 (ECONNREFUSED): start one with `npm start`.\n');
  });

  test('takes the page of another program for no gate', async () => {
    const environment = await serve((_request, response) => response.writeHead(404).end('<html>not here</html>'));
    expect(await runCommand(['whoami'], { environment })).toMatchObject({ code: 4, stdout: '' });
  });

  test('tells a refusal with its code, the request id and what to do', async () => {
    const environment = await serve((_request, response) =>
      response
        .writeHead(403, { 'content-type': 'application/json', 'x-request-id': 'req_1' })
        .end(JSON.stringify({ code: 'permission_denied', message: 'This needs the scope keys:read.' })),
    );
    const { code, stderr } = await runCommand(['agents', 'list'], { environment });
    expect(code).toBe(3);
    expect(stderr).toContain('This needs the scope keys:read. (permissiondenied, request req_1)');
    expect(stderr.trimEnd()).not.toContain('\n');
  });

  test('shows a hostile answer as text', async () => {
    const environment = await serve((_request, response) =>
      response
        .writeHead(400, { 'content-type': 'application/json', 'x-request-id': 'req_1' })
        .end(JSON.stringify({ code: 'invalid_argument', message: '\u001b]0;owned\u0007\n\u202eevil' })),
    );
    const { code, stderr } = await runCommand(['whoami'], { environment });
    expect(code).toBe(1);
    expect(stderr.trimEnd()).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test('does not follow a redirect with the key', async () => {
    let followed = false;
    const target = await serve((_request, response) => {
      followed = true;
      response.end();
    });
    const environment = await serve((_request, response) =>
      response.writeHead(307, { location: target['PORTCULLIS_URL'] }).end(),
    );
    expect((await runCommand(['whoami'], { environment })).code).toBe(4);
    expect(followed).toBe(false);
  });

  test('sends the key as a bearer and never shows it', async () => {
    const seen: (string | undefined)[] = [];
    const environment = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end('{"principal":{"name":"me"},"serverVersion":"1"}');
    });
    const { code, stdout, stderr } = await runCommand(['whoami'], { environment });
    expect(code).toBe(0);
    expect(stdout).toContain('me');
    expect(seen).toEqual(['Bearer pcl_canary']);
    expect(stdout + stderr).not.toContain('canary');
  });
});
