/**
 * `npm run demo`: a gate of its own in a temporary folder, and an agent that lives through a day on the simulated model:
 * calls in both dialects, a tool, streams, a budget that ends, a rate limit, a kill switch in mid-stream. What happened is
 * then read back from the ledger.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { printLedger, step } from './print.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-demo-'));
// As root, PostgreSQL runs under another user, who must be able to pass through.
chmodSync(folder, 0o711);
const configFile = join(folder, 'portcullis.yaml');
// The simulated model costs nothing; here it has a price, so that there is money to watch.
writeFileSync(
  configFile,
  `providers:
  demo: { kind: sim, price: { input: 3, output: 15 } }
models:
  sim: { targets: [{ provider: demo }] }
  sim-*: { targets: [{ provider: demo }] }
`,
);

interface Gate {
  readonly process: ChildProcess;
  readonly url: string;
  readonly admin_key: string;
  readonly agent_key: string;
}

async function startGate(): Promise<Gate> {
  const main = resolve(import.meta.dirname, '../server/src/main.ts');
  const child = spawn(process.execPath, [main, 'up'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '',
      HTTP_ADDR: '127.0.0.1:0',
      GRPC_ADDR: 'off',
      DATA_DIR: join(folder, 'data'),
      CONFIG_FILE: configFile,
      LOG_FILE: join(folder, 'gate.log'),
      RATE_LIMIT_MODELS_PER_MINUTE: '60',
    },
  });
  let output = '';
  await new Promise<void>((up, failed) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes('Ctrl-C stops everything')) up();
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', () => failed(new Error(`the gate did not start:\n${output}`)));
  });
  // The gate says itself where its keys are: as root that may be another folder.
  const file = /Keys and addresses: (\S+)/.exec(output)?.[1] ?? '';
  return { process: child, ...(JSON.parse(readFileSync(file, 'utf8')) as Omit<Gate, 'process'>) };
}

async function api<T>(gate: Gate, method: string, body: object): Promise<T> {
  const answer = await fetch(`${gate.url}/portcullis.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${gate.admin_key}` },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

const user = (content: string) => [{ role: 'user' as const, content }];

async function callInBothDialects(openai: OpenAI, anthropic: Anthropic): Promise<void> {
  const chat = await openai.chat.completions.create({ model: 'sim', max_tokens: 60, messages: user('Good morning') });
  step('OpenAI SDK, a call', chat.choices[0]?.message.content ?? '');
  const message = await anthropic.messages.create({ model: 'sim', max_tokens: 60, messages: user('Good morning') });
  step('Anthropic SDK, a call', message.content.map((block) => (block.type === 'text' ? block.text : '')).join(''));
}

async function callATool(anthropic: Anthropic): Promise<void> {
  const tools = [
    {
      name: 'get_time',
      description: 'The time',
      input_schema: { type: 'object' as const, properties: { zone: { type: 'string' } }, required: ['zone'] },
    },
  ];
  const question = user('Please use the tool get_time');
  const asked = await anthropic.messages.create({ model: 'sim', max_tokens: 200, tools, messages: question });
  const call = asked.content.find((block) => block.type === 'tool_use');
  if (!call) throw new Error('the simulated model did not call the tool');
  step('Anthropic SDK, a tool call', `${call.name}(${JSON.stringify(call.input)})`);
  const answered = await anthropic.messages.create({
    model: 'sim',
    max_tokens: 60,
    tools,
    messages: [
      ...question,
      { role: 'assistant', content: asked.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: '12:00' }] },
    ],
  });
  step('  and its result', answered.content.map((block) => (block.type === 'text' ? block.text : '')).join(''));
}

async function stream(openai: OpenAI): Promise<void> {
  let events = 0;
  for await (const _chunk of await openai.chat.completions.create({
    model: 'sim',
    max_tokens: 60,
    stream: true,
    messages: user('Tell a story'),
  }))
    events++;
  step('OpenAI SDK, a stream', `${events} events`);
}

async function meetTheBudget(gate: Gate, anthropic: Anthropic): Promise<void> {
  const { budget } = await api<{ budget: { id: string } }>(gate, 'BudgetService/CreateBudget', {
    name: 'lunch money',
    unit: 'BUDGET_UNIT_USD',
    window: 'BUDGET_WINDOW_DAY',
    limitAmount: '2000000',
  });
  await refusal(
    'A budget of $0.002 a day',
    anthropic.messages.create({ model: 'sim', max_tokens: 4000, messages: user('Write a long essay') }),
  );
  await api(gate, 'BudgetService/DeleteBudget', { budgetId: budget.id });
}

async function meetTheRateLimit(openai: OpenAI): Promise<void> {
  const calls = Array.from({ length: 20 }, () =>
    openai.chat.completions.create({ model: 'sim', max_tokens: 10, messages: user('Again') }),
  );
  const refused = (await Promise.allSettled(calls)).filter(({ status }) => status === 'rejected');
  step('20 calls at once', `${20 - refused.length} answered, ${refused.length} refused`);
  await refusal(
    '  one of them',
    Promise.reject(refused[0]?.status === 'rejected' ? refused[0].reason : new Error('none was refused')),
  );
}

async function meetTheKillSwitch(gate: Gate, anthropic: Anthropic): Promise<void> {
  const { agents } = await api<{ agents: { id: string }[] }>(gate, 'AgentService/ListAgents', {});
  // The burst of the step before must be refilled by one call.
  await new Promise((wait) => setTimeout(wait, 1_500));
  const slow = anthropic.messages.stream({
    model: 'sim-rate-20-tokens-2000',
    max_tokens: 2000,
    messages: user('Count to a thousand'),
  });
  await new Promise((began) => slow.once('text', began));
  const engaged = performance.now();
  // The stream may end before the switch is answered.
  const [endedMs] = await Promise.all([
    refusal('A kill switch in mid-stream', slow.finalMessage()).then(() => performance.now() - engaged),
    api(gate, 'PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_AGENT',
      value: agents[0]?.id,
      reason: 'It counts too far.',
    }),
  ]);
  step('  ended after', `${Math.round(endedMs)} ms`);
}

async function refusal(what: string, call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    step(what, error instanceof Error ? error.message : String(error));
    return;
  }
  throw new Error(`${what}: was not refused`);
}

async function main(): Promise<void> {
  step('Starting a gate', folder);
  const gate = await startGate();
  try {
    const openai = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: gate.agent_key, maxRetries: 0 });
    const anthropic = new Anthropic({ baseURL: gate.url, apiKey: gate.agent_key, maxRetries: 0 });
    await callInBothDialects(openai, anthropic);
    await callATool(anthropic);
    await stream(openai);
    await meetTheBudget(gate, anthropic);
    await meetTheRateLimit(openai);
    await meetTheKillSwitch(gate, anthropic);
    // Rows of refused calls are written shortly after the answer.
    await new Promise((wait) => setTimeout(wait, 500));
    const { attempts } = await api<Parameters<typeof printLedger>[0]>(gate, 'AnalyticsService/ListAttempts', {
      pageSize: 100,
    });
    printLedger({ attempts });
  } finally {
    gate.process.kill('SIGTERM');
    await once(gate.process, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
