import fc from 'fast-check';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { post } from './support/models.ts';

/** Simulating a policy is enforcing it: the same calls, once recorded and simulated, once made again under the policy. */

const policiesMax = 1_000;

/** Simulated models, some of which two providers serve. */
const configuration = JSON.stringify({
  providers: { 'sim-east': { kind: 'sim' }, 'sim-west': { kind: 'sim' } },
  models: {
    'small-1': { targets: [{ provider: 'sim-east', model: 'sim' }] },
    'small-2': { targets: [{ provider: 'sim-west', model: 'sim' }] },
    'both-1': {
      targets: [
        { provider: 'sim-east', model: 'sim' },
        { provider: 'sim-west', model: 'sim' },
      ],
    },
  },
});

interface CorpusCall {
  readonly id: string;
  readonly path: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

let gate: TestGate;
let corpus: readonly CorpusCall[];
let corpusEnd: string;

beforeAll(async () => {
  gate = await startGate({ yaml: configuration });
  corpus = await makeCorpus();
  const statuses = await Promise.all(corpus.map((call) => make(call, call.id)));
  const failed = statuses.find(({ status }) => status !== 200);
  if (failed) throw new Error(failed.body.toString());
  corpusEnd = new Date().toISOString();
  await vi.waitFor(
    async () => {
      const { rows } = await gate.database.pool.query('SELECT FROM policy_records');
      // And the start of both runs.
      if (rows.length !== corpus.length + 2) throw new Error(`${rows.length} calls are recorded`);
    },
    { timeout: 30_000, interval: 50 },
  );
});
afterAll(() => gate.stop());

/** Calls that differ in all that conditions can see. */
async function makeCorpus(): Promise<readonly CorpusCall[]> {
  const tools = ['bash', 'read_file', 'delete_repository'];
  const calls: CorpusCall[] = [];
  for (const name of ['reviewer', 'builder']) {
    const { secret } = await gate.agent(name);
    const { run } = await gate.api<{ run: { id: string } }>(
      'RunService/StartRun',
      { workflow: `${name}-flow` },
      secret,
    );
    for (const [at, model] of ['small-1', 'small-2', 'both-1'].entries()) {
      const messages = Array.from({ length: at + 1 }, (_, i) => ({
        role: i % 2 ? 'assistant' : 'user',
        content: 'hi',
      }));
      const toolList = tools.slice(0, at).map((tool) => ({ name: tool, input_schema: { type: 'object' } }));
      const authorization = { authorization: `Bearer ${secret}` };
      const bodies = [
        ['/v1/messages', { model, max_tokens: 10 + 100 * at, messages, ...(at > 0 && { tools: toolList }) }],
        [
          '/v1/chat/completions',
          { model, messages: [{ role: 'user', content: 'x'.repeat(300 * at + 1) }], stream: at === 1 },
        ],
        ['/v1/messages/count_tokens', { model, messages }],
      ] as const;
      for (const [path, body] of bodies) {
        const id = `corpus-${name}-${at}-${path.split('/').at(-1)}`;
        calls.push({ id, path, body: JSON.stringify(body), headers: authorization });
        calls.push({
          id: `${id}-in-run`,
          path,
          body: JSON.stringify(body),
          headers: { ...authorization, 'x-portcullis-run': run.id },
        });
      }
    }
  }
  return calls;
}

function make({ path, body, headers }: CorpusCall, requestId?: string) {
  return post(gate, path, body, { ...headers, ...(requestId !== undefined && { 'x-request-id': requestId }) });
}

const atom = fc.oneof(
  fc.constantFrom('small-1', 'small-2', 'both-1', 'none').map((model) => `resource.name == '${model}'`),
  fc.constantFrom('sim-east', 'sim-west').map((provider) => `resource.provider == '${provider}'`),
  fc.constantFrom('small', 'b').map((start) => `resource.name.startsWith('${start}')`),
  fc.constantFrom('reviewer', 'builder').map((name) => `principal.name == '${name}'`),
  fc.constantFrom('agent', 'operator').map((kind) => `principal.kind == '${kind}'`),
  fc.constantFrom('bash', 'read_file', 'none').map((tool) => `args.tools.exists(t, t == '${tool}')`),
  fc.integer({ min: 0, max: 300 }).map((most) => `args.max_output_tokens > ${most}`),
  fc.integer({ min: 0, max: 300 }).map((most) => `has(args.max_output_tokens) && args.max_output_tokens > ${most}`),
  fc.integer({ min: 0, max: 4 }).map((count) => `args.message_count >= ${count}`),
  fc.integer({ min: 50, max: 700 }).map((bytes) => `args.body_bytes < ${bytes}`),
  fc.constantFrom('args.stream', 'has(run.id)', `run.workflow == 'reviewer-flow'`, 'true', 'args.truncated'),
  fc.constantFrom('generate', 'count_tokens').map((operation) => `args.operation == '${operation}'`),
);

const condition = fc
  .tuple(atom, atom, atom, fc.constantFrom('&&', '||'), fc.constantFrom('&&', '||'), fc.boolean())
  .map(([a, b, c, first, second, not]) => `((${a}) ${first} ${not ? '!' : ''}(${b})) ${second} (${c})`);

const policy = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    actions: fc.constant(['models.invoke']),
    condition: fc.oneof(atom, condition),
    effect: fc.constantFrom('RULE_EFFECT_ALLOW', 'RULE_EFFECT_DENY', 'RULE_EFFECT_REQUIRE_APPROVAL'),
    mode: fc.constantFrom('RULE_MODE_ENFORCE', 'RULE_MODE_ENFORCE', 'RULE_MODE_SHADOW'),
  }),
  { minLength: 1, maxLength: 4, selector: ({ name }) => name },
);

interface Simulation {
  readonly totals: { readonly calls: string; readonly newlyBlocked: string };
  readonly calls?: readonly { readonly requestId: string; readonly verdict: string; readonly rule?: string }[];
}

test('a simulation whose costs take too long says so, and all else', { timeout: 120_000 }, async () => {
  const holder = new Client({ connectionString: gate.database.ownerUrl });
  await holder.connect();
  await holder.query('BEGIN; LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE');
  try {
    const document = { rules: [{ name: 'none', actions: ['models.invoke'], effect: 'RULE_EFFECT_DENY' }] };
    const simulation = await gate.api<object>('PolicyService/SimulatePolicy', { document });
    expect(simulation).toMatchObject({ costsUnknown: true, totals: { newlyBlocked: String(corpus.length) } });
  } finally {
    await holder.end();
  }
});

test('a policy enforced gives what its simulation over recorded calls said', { timeout: 280_000 }, async () => {
  let compared = 0;
  let blocked = 0;
  let etag = (await gate.api<{ state: { etag: string } }>('PolicyService/GetPolicy')).state.etag;
  const again = fc.sample(fc.array(fc.nat(corpus.length - 1), { minLength: 2, maxLength: 2 }), {
    numRuns: policiesMax,
    seed: 5,
  });
  for (const [at, rules] of fc.sample(policy, { numRuns: policiesMax, seed: 5 }).entries()) {
    const document = {
      rules: rules.map((rule) => ({
        ...rule,
        ...(rule.effect === 'RULE_EFFECT_REQUIRE_APPROVAL' && { approval: { approvers: ['psn_boss'] } }),
      })),
    };
    const simulation = await gate.api<Simulation>('PolicyService/SimulatePolicy', {
      document,
      endTime: corpusEnd,
      rowsMax: 500,
    });
    expect(Number(simulation.totals.calls)).toBe(corpus.length + 2);
    const said = new Map(simulation.calls?.map((call) => [call.requestId, call]));
    const set = await gate.api<{ state: { etag: string } }>('PolicyService/SetPolicy', {
      document,
      stage: 'POLICY_STAGE_ENFORCED',
      etag,
    });
    ({ etag } = set.state);
    // Some of the calls for each policy; every hundredth policy meets them all.
    const calls = at % 100 === 0 ? corpus : (again[at] ?? []).map((index) => corpus[index]!);
    const answers = await Promise.all(calls.map(async (call) => ({ call, answer: await make(call) })));
    for (const { call, answer } of answers) {
      const foretold = said.get(call.id);
      const context = JSON.stringify({ rules, call: call.id, foretold, got: answer.body.toString().slice(0, 300) });
      expect(answer.status, context).toBe(foretold === undefined ? 200 : 403);
      if (foretold === undefined) continue;
      const words =
        foretold.verdict === 'POLICY_VERDICT_DENY' ? 'denies this call' : 'asks for the approval of psn_boss';
      expect(answer.body.toString(), context).toContain(words);
      expect(answer.body.toString(), context).toContain(`The rule \\"${foretold.rule}\\"`);
      blocked++;
    }
    compared += calls.length;
  }
  console.log(
    `${policiesMax} random policies: ${compared} calls compared through the door, ${blocked} of them blocked`,
  );
  expect(blocked).toBeGreaterThan(compared / 10);
  expect(blocked).toBeLessThan((compared * 9) / 10);
});
