import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { installClient } from './support/client-package.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { Program, run } from './support/program.ts';

// The example of the client package, as its reader runs it: in a project with the packed client, against a gate.

const project = mkdtempSync(join(tmpdir(), 'portcullis-orchestrator-'));
let gate: TestGate;
let env: Record<string, string>;
beforeAll(async () => {
  installClient(project);
  cpSync(resolve(import.meta.dirname, '../client/examples/orchestrator.ts'), join(project, 'orchestrator.ts'));
  const models = { sim: { targets: [{ provider: 'sim', price: { input: 1, output: 2 } }] } };
  gate = await startGate({ yaml: JSON.stringify({ providers: {}, models }) });
  const agent = await gate.agent('sorter', { scopes: ['models:invoke', 'runs:write', 'telemetry:write'] });
  const judge = await gate.api<{ secret: string }>('AgentService/CreateKey', {
    name: 'judge',
    kind: 'PRINCIPAL_KIND_SERVICE',
    scopes: ['runs:write', 'telemetry:read'],
  });
  env = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: agent.secret, PORTCULLIS_JUDGE_KEY: judge.secret };
});
afterAll(async () => {
  await gate?.stop();
  rmSync(project, { recursive: true, force: true });
});

const command = [process.execPath, 'orchestrator.ts'];

const states = async () => {
  const { rows } = await gate.database.pool.query<{ state: string; count: number }>(
    'SELECT state, count(*)::int AS count FROM runs GROUP BY state',
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
};

it('the orchestrator finds out which prompt is better, and what that cost', { timeout: 120_000 }, async () => {
  const { code, stdout, stderr } = await run([], { cwd: project, command, env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const [first, second, sum] = stdout.trim().split('\n');
  // The simulated model says again what it is told: it names the kind where the prompt does.
  expect(first).toMatch(/^1\. listed: 0\.\d{3} \(6 runs, evaluated 1\)$/);
  expect(second).toMatch(/^2\. terse: 0\.\d{3} \(6 runs, evaluated 0\)$/);
  const rows = await gate.ledger();
  const cost = rows.reduce((total, { costNanousd = '0' }) => total + BigInt(costNanousd), 0n);
  expect(rows).toHaveLength(12);
  expect(sum).toBe(`12 of 12 runs, ${(Number(cost) / 1e9).toFixed(6)} USD`);
  expect(await states()).toEqual({ succeeded: 12 });
});

it('leaves no run behind when it is stopped in the middle', { timeout: 120_000 }, async () => {
  const program = new Program([], { cwd: project, command, env: { ...env, MODEL: 'sim-latency-2000' } });
  await expect.poll(states, { timeout: 30_000 }).toMatchObject({ running: 4 });
  expect(await program.end('SIGTERM')).toBe(1);
  expect(await states()).toEqual({ succeeded: 12, cancelled: 4 });
  expect(program.stdout).toContain('0 of 12 runs');
});
