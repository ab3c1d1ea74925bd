import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { options } from '../config/options.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-config-'));
afterAll(() => rmSync(root, { recursive: true }));
let cwd = root;
beforeEach(() => {
  cwd = mkdtempSync(join(root, 'cwd-'));
});

describe('portcullis config print', () => {
  test('never shows a secret, wherever it was put', async () => {
    const canaries: string[] = [];
    const plant = (where: string) => {
      const canary = `canary-${canaries.length}-${where.toLowerCase().replace(/[^a-z]/g, '')}`;
      canaries.push(canary);
      return canary;
    };
    const environment: Record<string, string> = {};
    for (const [name, { secret }] of Object.entries(options)) {
      if (!secret) continue;
      if (name.endsWith('DATABASE_URL')) environment[name] = `postgres://user:${plant(name)}@db.example.com/gate`;
      else if (name === 'METRICS_API_KEY') {
        writeFileSync(join(cwd, 'metrics'), plant(name));
        environment[`${name}_FILE`] = join(cwd, 'metrics');
      } else environment[name] = plant(name);
    }
    environment['PUBLIC_URL'] = `https://user:${plant('userinfo')}@gate.example.com/`;
    environment['JWKS_URI'] = `https://issuer.example.com/jwks?key=${plant('query')}`;
    environment['ANTHROPIC_API_KEY'] = plant('reference');
    writeFileSync(
      join(cwd, 'portcullis.yaml'),
      `# an old one: ${plant('comment')}
providers:
  anthropic: { kind: anthropic, api_key: "\${ANTHROPIC_API_KEY}" }
  literal: { kind: openai, api_key: ${plant('literal')}, base_url: "https://u:${plant('base')}@llm.example.com/v1?sig=${plant('sig')}" }
  misspelt: { kind: openai, apikey: ${plant('misspelt')}, headers: { authorization: ${plant('header')} } }
  pasted: { kind: openai, base_url: "sk-ant-${plant('pasted')}-0123456789abcdef" }
`,
    );
    for (const args of [
      ['config', 'print'],
      ['config', 'print', '--json'],
    ]) {
      const { code, stdout, stderr } = await runCommand(args, { environment, cwd });
      expect(code).toBe(0);
      for (const canary of canaries) expect(stdout + stderr).not.toContain(canary);
      expect(stdout).toContain('[redacted]');
      expect(stdout).toContain('${ANTHROPIC_API_KEY}');
      for (const name of Object.keys(options)) expect(stdout).toContain(name);
    }
    expect(canaries.length).toBeGreaterThan(12);
  });

  test('shows what only sounds like a secret, as long as it is what it is for', async () => {
    const print = async (file: string) => {
      writeFileSync(join(cwd, 'portcullis.yaml'), file);
      return (await runCommand(['config', 'print'], { cwd })).stdout;
    };
    expect(await print('providers: { a: { credential: caller } }\n')).toContain('credential: caller');
    expect(await print('models: { m: { targets: [{ max_output_tokens: 4096 }] } }\n')).toContain('4096');
    expect(await print('providers: { a: { credential: my-canary } }\n')).not.toContain('my-canary');
    expect(await print('models: { m: { targets: [{ max_output_tokens: my-canary }] } }\n')).not.toContain('my-canary');
  });

  test('has defaults behind a comment sign and what was set without', async () => {
    const { stdout } = await runCommand(['config', 'print'], { environment: { HTTP_ADDR: '[::1]:9000' }, cwd });
    expect(stdout).toContain('\nHTTP_ADDR=[::1]:9000\n');
    expect(stdout).toContain('\n# DRAIN_MS=30000\n');
  });

  test('says nothing of a file that is not YAML, since a secret may stand anywhere in it', async () => {
    writeFileSync(join(cwd, 'portcullis.yaml'), 'providers: [ canary\n');
    const { stdout, stderr } = await runCommand(['config', 'print'], { cwd });
    expect(stdout + stderr).not.toContain('canary');
  });
});

describe('portcullis config check', () => {
  test('says ok, or every problem, with exit code 1', async () => {
    expect(await runCommand(['config', 'check'], { cwd })).toMatchObject({
      code: 0,
      stdout: 'Configuration validation: ok\n',
    });
    const broken = await runCommand(['config', 'check'], {
      cwd,
      environment: { HTTP_ADDR: 'nowhere', DRAIN_MS: 'soon' },
    });
    expect(broken.code).toBe(1);
    expect(broken.stdout).toContain('HTTP_ADDR');
    expect(broken.stdout).toContain('DRAIN_MS');
    expect(broken.stderr).toContain('failed (2)');
  });

  test('lists the same as JSON', async () => {
    const environment = { DRAIN_MS: 'soon', DRAIN_SM: '1' };
    const { code, stdout } = await runCommand(['config', 'check', '--json'], { cwd, environment });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      problems: [expect.stringContaining('DRAIN_MS')],
      notes: [expect.stringContaining('DRAIN_SM')],
    });
  });
});
