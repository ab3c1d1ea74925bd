import { once } from 'node:events';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearer, control, knock, messages, send } from './support/doors.ts';
import { Workplace } from './support/embedded-gate.ts';
import { type Program, run } from './support/program.ts';

const repository = resolve(import.meta.dirname, '..');
const place = new Workplace();
let gate: Program;

beforeAll(async () => {
  gate = await place.up();
});
afterAll(() => place.remove());

/** What stands under a heading of the greeting, as somebody would copy it. */
function snippet(heading: string): string {
  const [, found = ''] = new RegExp(`^${heading}\\n((?:  .*\\n)+)`, 'm').exec(gate.stdout) ?? [];
  return found.replace(/^ {2}/gm, '').trim();
}

/** Runs what was pasted, in a shell of a project that has the SDKs. */
async function paste(script: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { stdout, stderr, code } = await run(['-c', script], { cwd: repository, command: ['sh'], env });
  expect(code, stderr).toBe(0);
  return stdout;
}

function node(script: string): string {
  return `'${process.execPath}' --input-type=module -e '${script}'`;
}

describe('the first start', () => {
  it('says where it is and where the keys are, which nobody else may read', () => {
    const { url, admin_key: adminKey, agent_key: agentKey } = place.credentials;
    expect(gate.stdout).toContain(`Portcullis is up at ${url}\n`);
    expect(gate.stdout).toContain(`Keys and addresses: ${place.credentialsFile}`);
    expect(statSync(place.credentialsFile).mode & 0o777).toBe(0o600);
    expect(adminKey).toMatch(/^pcl_/);
    expect(agentKey).toMatch(/^pcl_/);
    expect(gate.output).not.toContain(adminKey);
    expect(statSync(join(place.dataDir, 'secrets.key')).mode & 0o777).toBe(0o600);
  });

  it('prints a curl that works as pasted', async () => {
    const answer = JSON.parse(await paste(snippet('curl')));
    expect(answer).toMatchObject({ type: 'message', content: [{ text: '[simulated] You said: Hello' }] });
  });

  it("prints an environment in which OpenAI's SDK works", async () => {
    const script = `import OpenAI from "openai";
      const chat = await new OpenAI().chat.completions.create({ model: "sim", messages: [{ role: "user", content: "Hi" }] });
      console.log(chat.choices[0].message.content);`;
    expect(await paste(`${snippet('OpenAI SDK')}\n${node(script)}`)).toBe('[simulated] You said: Hi\n');
  });

  it("prints an environment in which Anthropic's SDK works", async () => {
    const script = `import Anthropic from "@anthropic-ai/sdk";
      const stream = new Anthropic().messages.stream({ model: "sim", max_tokens: 50, messages: [{ role: "user", content: "Hi" }] });
      console.log(await stream.finalText());`;
    expect(await paste(`${snippet('Anthropic SDK')}\n${node(script)}`)).toBe('[simulated] You said: Hi\n');
  });

  it('prints how to start a coding agent: whatever is started so speaks to the gate, as one run', async () => {
    const script = `import Anthropic from "@anthropic-ai/sdk";
      const answer = await new Anthropic().messages.create({ model: "sim", max_tokens: 50, messages: [{ role: "user", content: "Hi" }] });
      console.log(answer.content[0].text);`;
    const command = snippet('Claude Code, .*');
    expect(command).toMatch(/ run -- claude$/);
    const started = command.replace(/claude$/, node(script));
    expect(await paste(started, { DATA_DIR: place.dataDir })).toBe('[simulated] You said: Hi\n');
  });

  it('prints a launcher that works from another directory, on this very gate', async () => {
    const launcher = snippet('Command line, from any directory').replace(' --help', '');
    const portcullis = (...args: string[]) =>
      run(args, { cwd: '/', command: [launcher], env: { DATA_DIR: place.dataDir } });
    expect((await portcullis('--help')).stdout).toContain('Usage: portcullis');
    const { stdout, code } = await portcullis('whoami');
    expect(code).toBe(0);
    expect(stdout).toContain(place.credentials.url);
    const usage = JSON.parse((await portcullis('usage', '--json')).stdout) as { rows: unknown[] };
    expect(usage.rows.length).toBeGreaterThan(0);
  });
});

it('a second start on the same data is refused in one line, and does the first no harm', async () => {
  const second = place.run(['up']);
  expect(await second.exited).toBe(1);
  expect(second.stdout).toBe('');
  expect(second.stderr.trimEnd().split('\n').at(-1)).toBe(
    `The data in ${place.dataDir} is in use by process ${gate.process.pid}: stop that one first, or use another DATA_DIR.`,
  );
  expect((await knock(place.credentials.url, messages, bearer(place.credentials.agent_key))).status).toBe(200);
});

/** Opens a stream of two seconds, and waits for its beginning. */
async function openStream(): Promise<{ readonly whole: Promise<string> }> {
  const { url, agent_key: key } = place.credentials;
  const body = JSON.parse(messages.body ?? '') as object;
  const sent = request(new URL('/v1/messages', url), {
    method: 'POST',
    headers: { ...messages.headers, ...bearer(key) },
  });
  sent.end(JSON.stringify({ ...body, model: 'sim-rate-50-tokens-100', max_tokens: 100, stream: true }));
  const [response] = await once(sent, 'response');
  const whole = text(response);
  await once(response, 'data');
  return { whole };
}

describe.each(['SIGINT', 'SIGTERM'] as const)('%s', (signal) => {
  let stream: string;
  let code: number | null;
  let statuses: number[];

  beforeAll(async () => {
    const { whole } = await openStream();
    const ended = gate.end(signal);
    statuses = [];
    for (;;) {
      const status = await send(place.credentials.url, { path: '/readyz' }).then(
        (answer) => answer.status,
        () => 0,
      );
      statuses.push(status);
      if (status === 0) break;
    }
    stream = await whole;
    code = await ended;
  });

  it('takes no new work, and lets a stream in flight end complete', () => {
    expect(code).toBe(0);
    expect(statuses.slice(0, -1).every((status) => status === 200 || status === 503)).toBe(true);
    expect(stream).toContain('event: message_stop');
    expect(gate.stderr).toContain('Draining');
    expect(gate.stderr).toContain('Stopped.');
  });

  it('leaves no process', () => {
    expect(place.processes()).toEqual([]);
  });

  it('is followed by a start that knows keys and data, and is audited', async () => {
    const before = place.credentials;
    gate = await place.up();
    const after = place.credentials;
    expect([after.admin_key, after.agent_key]).toEqual([before.admin_key, before.agent_key]);
    expect((await knock(after.url, control, bearer(after.admin_key))).status).toBe(200);
    const path = '/portcullis.v1.AnalyticsService/ListAttempts';
    const { json } = await knock(after.url, { ...control, path }, bearer(after.admin_key));
    expect(json.attempts[0]).toMatchObject({
      modelAsked: 'sim-rate-50-tokens-100',
      outcome: 'ATTEMPT_OUTCOME_SUCCESS',
    });
  });
});

it('without credentials.json new keys are issued, and the old ones hold on', async () => {
  const before = place.credentials;
  expect(await gate.end()).toBe(0);
  rmSync(place.credentialsFile);
  gate = await place.up();
  const after = place.credentials;
  expect(after.admin_key).not.toBe(before.admin_key);
  for (const key of [before.admin_key, after.admin_key])
    expect((await knock(after.url, control, bearer(key))).status).toBe(200);
  expect((await knock(after.url, messages, bearer(after.agent_key))).status).toBe(200);
});

it('a port that is taken is left to its owner: the next free one is used, and said', async () => {
  expect(await gate.end()).toBe(0);
  const owner = createServer().listen(0, '127.0.0.1');
  await once(owner, 'listening');
  const { port } = owner.address() as { port: number };
  gate = await place.up({ HTTP_ADDR: `127.0.0.1:${port}`, GRPC_ADDR: `127.0.0.1:${port}` });
  owner.close();
  const { url } = place.credentials;
  expect(Number(new URL(url).port)).toBeGreaterThan(port);
  expect(gate.stderr).toContain(`Port ${port} is taken, so this is ${url}.`);
  const [, grpc = ''] = /^gRPC is at (\S+)$/m.exec(gate.stderr) ?? [];
  expect(Number(new URL(grpc).port)).toBeGreaterThan(port);
  expect(grpc).not.toBe(url);
  expect((await send(url, { path: '/healthz' })).text).toBe('ok');
});

it('the log has no key and no prompt', () => {
  const { admin_key: adminKey, agent_key: agentKey } = place.credentials;
  const log = readFileSync(place.logFile, 'utf8');
  for (const secret of [adminKey, agentKey, 'Hello', '"Hi"']) expect(log).not.toContain(secret);
});
