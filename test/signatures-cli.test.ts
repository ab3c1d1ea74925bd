import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CliRun, runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
let folder: string;
let keyId: string;
let secret: string;

beforeAll(async () => {
  gate = await startGate();
  folder = mkdtempSync(join(tmpdir(), 'portcullis-signing-'));
  const made = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
    name: 'operator',
    kind: 'PRINCIPAL_KIND_OPERATOR',
    scopes: ['admin'],
    requireSignature: true,
  });
  keyId = made.key.id;
  ({ secret } = made);
});
afterAll(async () => {
  await gate?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** With ADMIN_API_KEY, or as the operator who must sign. */
function run(args: readonly string[], environment: Record<string, string> = {}): Promise<CliRun> {
  return runCommand(args, {
    cwd: folder,
    environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey, ...environment },
  });
}

async function add(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(['keys', 'signing', 'add', keyId, ...args]);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stdout).toMatch(/^sgk_[0-9a-z]{26}\n$/);
  return stdout.trim();
}

function signing(id: string, file: string): Record<string, string> {
  return { PORTCULLIS_KEY: secret, PORTCULLIS_SIGNING_KEY_ID: id, PORTCULLIS_SIGNING_KEY_FILE: file };
}

describe('portcullis keys signing', () => {
  it('makes a key that the command line signs with from then on, repeated writes included', async () => {
    const id = await add('--new', 'new.pem');
    expect(readFileSync(join(folder, 'new.pem'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(statSync(join(folder, 'new.pem')).mode & 0o777).toBe(0o600);
    const unsigned = await run(['whoami'], { PORTCULLIS_KEY: secret });
    expect(unsigned).toMatchObject({ code: 3, stdout: '' });
    expect(unsigned.stderr).toMatch(/must carry a signature .*PORTCULLIS_SIGNING_KEY_FILE/);
    expect(await run(['whoami'], signing(id, 'new.pem'))).toMatchObject({ code: 0 });
    expect(await run(['agents', 'create', 'made-by-signature'], signing(id, 'new.pem'))).toMatchObject({ code: 0 });
    expect((await run(['agents', 'list'], signing(id, 'new.pem'))).stdout).toContain('made-by-signature');
    expect(await run(['keys', 'signing', 'revoke', id])).toMatchObject({ code: 0 });
    expect(await run(['whoami'], signing(id, 'new.pem'))).toMatchObject({ code: 3 });
  });

  it('registers a public key that there is, and of a private one its public half', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    writeFileSync(join(folder, 'public.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    writeFileSync(join(folder, 'private.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const id = await add('--public-key', 'public.pem');
    expect(await run(['whoami'], signing(id, 'private.pem'))).toMatchObject({ code: 0 });
    const again = await run(['keys', 'signing', 'add', keyId, '--public-key', 'private.pem']);
    expect(again.stderr).toMatch(/registered for this API key already/);
    const listed = await run(['keys', 'signing', 'list', `pcl_${keyId}_secret`]);
    expect(listed.stdout).toContain(id);
    expect(await run(['keys', 'signing', 'revoke', id])).toMatchObject({ code: 0 });
  });

  it('writes an HMAC secret to a file of its own, and leaves nothing there when the gate refuses', async () => {
    const id = await add('--hmac', 'hmac.txt');
    expect(statSync(join(folder, 'hmac.txt')).mode & 0o777).toBe(0o600);
    expect(await run(['whoami'], signing(id, 'hmac.txt'))).toMatchObject({ code: 0 });
    const refused = await run(['keys', 'signing', 'add', keyId, '--new', 'refused.pem']);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(existsSync(join(folder, 'refused.pem'))).toBe(false);
    const taken = await run(['keys', 'signing', 'add', keyId, '--hmac', 'hmac.txt']);
    expect(taken.stderr).toMatch(/exists already/);
    expect(readFileSync(join(folder, 'hmac.txt'), 'utf8')).toMatch(/^[A-Za-z0-9_-]{43}\n$/);
    expect(await run(['keys', 'signing', 'revoke', id])).toMatchObject({ code: 0 });
  });

  it('says what is wrong with what it is given', async () => {
    const cases: [Record<string, string>, RegExp][] = [
      [{ PORTCULLIS_SIGNING_KEY_ID: 'sgk_1' }, /set both/],
      [signing('pcl_1', 'new.pem'), /begins with sgk_/],
      [signing('sgk_1', 'nowhere.pem'), /cannot be read/],
      [signing('sgk_1', 'public.pem'), /must hold an ed25519 private key/],
    ];
    for (const [environment, sentence] of cases) expect((await run(['whoami'], environment)).stderr).toMatch(sentence);
    expect((await run(['keys', 'signing', 'add', keyId])).stderr).toMatch(/Say which key/);
    const both = await run(['keys', 'signing', 'add', keyId, '--hmac', 'a', '--new', 'b']);
    expect(both.code).not.toBe(0);
    expect(existsSync(join(folder, 'a'))).toBe(false);
  });
});

describe('docs/signatures.md', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../docs/signatures.md'), 'utf8');
  const example = (language: string) => new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'ms').exec(page)?.[1] ?? '';
  const method = '/portcullis.v1.SystemService/GetSelf';
  let environment: Record<string, string>;

  beforeAll(async () => {
    const id = await add('--new', 'docs.pem');
    environment = {
      PATH: process.env['PATH'] ?? '',
      PORTCULLIS_URL: gate.url,
      ...signing(id, join(folder, 'docs.pem')),
    };
  });

  async function execute(command: string, args: readonly string[]): Promise<string> {
    return (await promisify(execFile)(command, args, { env: environment, cwd: folder })).stdout;
  }

  it('has an example in JavaScript that signs, with a body and without', async () => {
    writeFileSync(join(folder, 'sign.mjs'), example('js'));
    expect(await execute(process.execPath, ['sign.mjs', 'POST', gate.url + method, '{}'])).toMatch(
      /^200 .*serverVersion/,
    );
    expect(await execute(process.execPath, ['sign.mjs', 'GET', `${gate.url}/v1/models?a=1`])).toMatch(/^200 /);
  });

  it('has an example for the shell that signs', async (context) => {
    const missing = await execute('sh', ['-c', 'command -v curl && openssl pkeyutl -help 2>&1 | grep rawin']).then(
      () => null,
      () => 'curl and an OpenSSL with pkeyutl -rawin are not here',
    );
    if (process.env['REQUIRE_ALL'] !== '1') context.skip(missing !== null, missing ?? '');
    writeFileSync(join(folder, 'sign.sh'), example('sh'));
    expect(await execute('sh', ['sign.sh', method, '{}'])).toContain('serverVersion');
  });
});

describe('portcullis doctor --production', () => {
  it('advises signatures for what changes keys, policies and kill switches, and blocks nothing for it', async () => {
    const finding = async () => {
      const { stdout } = await run(['doctor', '--production', '--no-config', '--json', '--model', 'none']);
      const { gates } = JSON.parse(stdout) as { gates: { gate: string; outcome: string; why: string }[] };
      return gates.find(({ gate }) => gate === 'signed writes');
    };
    expect(await finding()).toMatchObject({ outcome: 'advice', why: expect.stringContaining('docs/signatures.md') });
    await gate.api('PolicyService/SetPolicy', {
      document: { signedScopes: ['keys:write', 'policy:write'] },
      stage: 'POLICY_STAGE_ENFORCED',
    });
    expect(await finding()).toMatchObject({ outcome: 'ok' });
  });
});
