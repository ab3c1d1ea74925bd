import { request as httpRequest } from 'node:http';

/** Ways to stop a call that runs on another replica than the one that is told so, and how long each takes to reach it. */

/** A gate that is told what to stop, and one whose call is to stop; both on one database. */
export interface Pair {
  readonly told: { readonly url: string; readonly adminKey: string };
  readonly other: { readonly url: string };
  /** A model whose answer is a stream that does not end, and the provider that serves it. */
  readonly model: string;
  readonly provider: string;
}

export interface Caller {
  readonly agentId: string;
  readonly personId: string;
  readonly keyId: string;
  readonly runId: string;
  readonly secret: string;
}

const scopes = {
  everything: () => '',
  project: () => '',
  agent: ({ agentId }: Caller) => agentId,
  key: ({ keyId }: Caller) => keyId,
  run: ({ runId }: Caller) => runId,
  workflow: () => workflow,
  provider: (_caller: Caller, { provider }: Pair) => provider,
  model: (_caller: Caller, { model }: Pair) => model,
} as const;
const workflow = 'stopped flow';

export type Scope = keyof typeof scopes;
export const killedScopes = Object.keys(scopes) as Scope[];
export const endings = ['revoked key', 'disabled agent', 'disabled person'] as const;
export type Ending = (typeof endings)[number];

const waitMs = 30_000;

export interface SwitchTimes {
  readonly engageMs: number;
  /** Until the first call that passed was sent. */
  readonly releaseMs: number;
}

/** How long, in milliseconds of this process, a switch took to end a stream on the other replica, and its release to let a call through there. */
export async function measureSwitch(pair: Pair, caller: Caller, scope: Scope): Promise<SwitchTimes> {
  const stream = await openStream(pair, caller);
  const engagedAt = performance.now();
  const engaged = control<{ killSwitch: { id: string } }>(pair, 'PolicyService/EngageKillSwitch', {
    scope: `KILL_SCOPE_${scope.toUpperCase()}`,
    value: scopes[scope](caller, pair),
    reason: 'It is measured.',
  });
  const engageMs = (await stream.ended) - engagedAt;
  stream.requireError('killed');
  const { id } = (await engaged).killSwitch;
  if ((await call(pair, caller)) !== 503) throw new Error(`a call passed the switch for ${scope}`);
  const releasedAt = performance.now();
  const released = control(pair, 'PolicyService/ReleaseKillSwitch', { killSwitchId: id });
  const passedAt = await firstPassing(pair, caller);
  await released;
  return { engageMs, releaseMs: passedAt - releasedAt };
}

/** When the first call was sent that passed: what it takes by itself is not counted. */
async function firstPassing(pair: Pair, caller: Caller): Promise<number> {
  const until = performance.now() + waitMs;
  for (;;) {
    const sentAt = performance.now();
    if ((await call(pair, caller)) === 200) return sentAt;
    if (performance.now() > until) throw new Error('a release did not arrive');
  }
}

const endingCalls: Readonly<Record<Ending, (caller: Caller) => readonly [method: string, body: object]>> = {
  'revoked key': ({ keyId }) => ['AgentService/RevokeKey', { keyId }],
  'disabled agent': ({ agentId }) => ['AgentService/DisableAgent', { agentId }],
  'disabled person': ({ personId }) => ['ProjectService/DisablePerson', { personId }],
};

/** How long, in milliseconds of this process, the end of a credential took to end a stream on the other replica. */
export async function measureEnding(pair: Pair, ending: Ending): Promise<number> {
  const caller = await newCaller(pair);
  const stream = await openStream(pair, caller);
  const endedAt = performance.now();
  const [method, body] = endingCalls[ending](caller);
  const written = control(pair, method, body);
  const took = (await stream.ended) - endedAt;
  stream.requireError('unauthenticated');
  await written;
  const status = await call(pair, caller);
  if (status === 200) throw new Error(`a call passed after its ${ending}`);
  return took;
}

let callers = 0;

/** An agent for whom a person answers, with a key and a run. */
export async function newCaller(pair: Pair): Promise<Caller> {
  const name = `stopped-${process.pid}-${callers++}`;
  const { person } = await control<{ person: { id: string } }>(pair, 'ProjectService/CreatePerson', {
    email: `${name}@example.com`,
    name,
  });
  const { agent } = await control<{ agent: { id: string } }>(pair, 'AgentService/CreateAgent', {
    name,
    personId: person.id,
  });
  const { key, secret } = await control<{ key: { id: string }; secret: string }>(pair, 'AgentService/CreateKey', {
    agentId: agent.id,
    name,
    kind: 'PRINCIPAL_KIND_AGENT',
    scopes: ['models:invoke', 'runs:write'],
  });
  const { run } = await control<{ run: { id: string } }>(pair, 'RunService/StartRun', { workflow }, secret);
  return { agentId: agent.id, personId: person.id, keyId: key.id, runId: run.id, secret };
}

/** A call of the control API to the replica that is told. @throws Error with the answer when it is refused */
export async function control<T>(
  { told }: Pick<Pair, 'told'>,
  method: string,
  body: object,
  key: string = told.adminKey,
): Promise<T> {
  const answer = await fetch(`${told.url}/portcullis.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method}: ${answer.status} ${text}`);
  return JSON.parse(text) as T;
}

function headersOf({ secret, runId }: Caller): Record<string, string> {
  return { 'content-type': 'application/json', authorization: `Bearer ${secret}`, 'x-portcullis-run': runId };
}

function bodyOf({ model }: Pair, stream: boolean): string {
  return JSON.stringify({ model, max_tokens: 100_000, stream, messages: [{ role: 'user', content: 'hello' }] });
}

/** The status of counting tokens on the other replica: every switch stops it, and it takes no time of a model. */
async function call(pair: Pair, caller: Caller): Promise<number> {
  const answer = await fetch(`${pair.other.url}/v1/messages/count_tokens`, {
    method: 'POST',
    headers: headersOf(caller),
    body: bodyOf(pair, false),
  });
  await answer.arrayBuffer();
  return answer.status;
}

export interface Stream {
  /** When it ended: `performance.now()`. */
  readonly ended: Promise<number>;
  /** @throws Error unless its last event is an error with this code */
  requireError(code: string): void;
}

/** A stream on the other replica of which the first events have come. */
export function openStream(pair: Pair, caller: Caller): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const ended = Promise.withResolvers<number>();
    let text = '';
    const request = httpRequest(`${pair.other.url}/v1/messages`, { method: 'POST', headers: headersOf(caller) });
    request.setTimeout(waitMs, () => request.destroy(new Error('a stream did not end')));
    request.on('error', reject);
    request.on('response', (response) => {
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('content_block_delta')) resolve({ ended: ended.promise, requireError });
      });
      response.on('end', () => {
        ended.resolve(performance.now());
        reject(new Error(`the stream did not begin: ${text}`));
      });
      response.on('error', (error) => ended.reject(error));
    });
    request.end(bodyOf(pair, true));
    const requireError = (code: string) => {
      const last = text.trimEnd().split('\n\n').at(-1) ?? '';
      if (!last.startsWith('event: error\n') || !last.includes(`"error_code":"${code}"`))
        throw new Error(`a stream ended with ${last}`);
    };
  });
}
