import { Agent as Connections, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CallPlan, bodyOf, callOf, doors } from './calls.ts';
import type { Cast } from './cast.ts';
import type { Replica } from './replica.ts';

/** A call as its client knows it; times are epoch milliseconds. */
export interface Made {
  readonly requestId: string;
  readonly plan: CallPlan;
  readonly gate: number;
  /** Which life of that gateway the client turned to. */
  readonly life: number;
  readonly startedAt: number;
  endedAt: number;
  /** Null: no answer came. */
  status: number | null;
  /** The answer came to its end. */
  whole: boolean;
  /** What a refusal by a budget said. */
  refusal: Refusal | null;
}

/** Amounts are decimal text in the budget's unit. */
export interface Refusal {
  readonly rule: string;
  readonly unit: string;
  readonly limit: string;
  readonly observed: string;
  readonly remaining: string;
}

/** The request id of the call with that label, which its provider sees in its message. */
export function requestIdOf(label: string): string {
  return `money-${label.replace(' ', '-')}`;
}

export interface CallOptions {
  readonly replica: Replica;
  readonly gate: number;
  readonly secret: string;
  readonly runId: string | null;
  readonly label: string;
}

/** Nobody waits longer, as for a gateway that was stopped. */
const patienceMs = 30_000;
const triesMax = 3;
const answerBytesMax = 1024 * 1024;

/** Clients that call without pause, turn to another gateway where one fails them, leave, and come back. */
export class Load {
  readonly made: Made[] = [];
  open = 0;
  readonly #replicas: readonly Replica[];
  readonly #cast: Cast;
  readonly #seed: number;
  readonly #roomy: number;
  readonly #connections = new Connections({ keepAlive: true });
  #next = 0;

  constructor(replicas: readonly Replica[], cast: Cast, { seed, roomy }: { seed: number; roomy: number }) {
    this.#replicas = replicas;
    this.#cast = cast;
    this.#seed = seed;
    this.#roomy = roomy;
  }

  /** So many clients, until `signal` aborts; resolves when the last of their calls has ended. */
  async run(clients: number, signal: AbortSignal): Promise<void> {
    const client = async () => {
      while (!signal.aborted) {
        const plan = callOf(this.#seed, this.#next++, this.#roomy);
        await sleep(plan.thinkMs, undefined, { signal }).catch(() => undefined);
        if (!signal.aborted) await this.#insist(plan);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    this.#connections.destroy();
  }

  /** So many calls of one agent at once. */
  async burst(agent: number, calls: number): Promise<void> {
    const plans = Array.from({ length: calls }, () => ({
      ...callOf(this.#seed, this.#next++, this.#roomy),
      agent,
      idempotent: false,
    }));
    await Promise.all(plans.map((plan) => this.#try(plan, 0)));
  }

  /** One call, however it ends. */
  call(plan: CallPlan, options: CallOptions): Promise<Made> {
    const { replica, gate, label } = options;
    const requestId = requestIdOf(label);
    const life = replica.lives.length - 1;
    const startedAt = Date.now();
    const made: Made = {
      requestId,
      plan,
      gate,
      life,
      startedAt,
      endedAt: 0,
      status: null,
      whole: false,
      refusal: null,
    };
    this.made.push(made);
    this.open++;
    return new Promise((resolve) => {
      const end = (text: string, whole: boolean) => {
        if (made.endedAt !== 0) return;
        made.endedAt = Date.now();
        made.whole = whole;
        if (made.status === 429) made.refusal = refusalIn(text);
        this.open--;
        resolve(made);
      };
      send(replica.gate.url, this.#connections, plan, options, requestId, (status) => (made.status = status), end);
    });
  }

  /** As an application does it: what failed without a verdict is tried again elsewhere. */
  async #insist(plan: CallPlan): Promise<void> {
    for (let attempt = 0; attempt < triesMax; attempt++) {
      const { status, whole } = await this.#try(plan, attempt);
      const failed = status === null || status === 503 || (status === 200 && !whole);
      if (!failed || plan.leaveAfterMs !== null) return;
      await sleep(50 * 2 ** attempt);
    }
  }

  async #try(plan: CallPlan, attempt: number): Promise<Made> {
    const agent = this.#cast.agents[plan.agent];
    if (!agent) throw new Error(`there is no agent ${plan.agent}`);
    // Where nobody serves there is nothing to be learned from calling.
    while (!this.#replicas.some(({ state }) => state === 'serving')) await sleep(20);
    const gate = this.#gateFor(plan.gate + attempt, plan.number);
    return this.call(plan, {
      replica: this.#replicas[gate] ?? this.#replicas[0]!,
      gate,
      secret: agent.secret,
      runId: plan.run === null ? null : (agent.runs[plan.run]?.id ?? null),
      label: `call ${plan.number}.${attempt}`,
    });
  }

  /** The one that was planned, or the next one that serves; some calls do go to one that is stopped. */
  #gateFor(planned: number, number: number): number {
    const count = this.#replicas.length;
    for (let i = 0; i < count; i++) {
      const gate = (planned + i) % count;
      const state = this.#replicas[gate]?.state;
      if (state === 'serving' || (state === 'paused' && number % 20 === 0)) return gate;
    }
    return planned % count;
  }
}

function send(
  url: string,
  agent: Connections,
  plan: CallPlan,
  { secret, runId, label }: CallOptions,
  requestId: string,
  answered: (status: number) => void,
  end: (text: string, whole: boolean) => void,
): void {
  const body = bodyOf(plan, label);
  const chunks: Buffer[] = [];
  let bytes = 0;
  const signal = AbortSignal.timeout(plan.leaveAfterMs ?? patienceMs);
  const request = httpRequest(`${url}${doors[plan.door].path}`, {
    method: 'POST',
    agent,
    signal,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      authorization: `Bearer ${secret}`,
      'x-request-id': requestId,
      ...(runId !== null && { 'x-portcullis-run': runId }),
      ...(plan.idempotent && { 'idempotency-key': `money-${plan.number}` }),
    },
  });
  const done = (whole: boolean) => end(Buffer.concat(chunks).toString(), whole);
  request.once('response', (response) => {
    answered(response.statusCode ?? 0);
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= answerBytesMax) chunks.push(chunk);
    });
    response.once('error', () => done(false));
    response.once('close', () => done(response.complete));
  });
  request.once('error', () => done(false));
  request.end(body);
}

/** What a budget said, in the same place in every dialect; null where something else refused. */
function refusalIn(text: string): Refusal | null {
  try {
    const { error } = JSON.parse(text) as { error?: { details?: Partial<Refusal> } };
    const { rule, unit, limit, observed, remaining } = error?.details ?? {};
    if (rule === undefined || unit === undefined || limit === undefined) return null;
    return { rule, unit, limit, observed: observed ?? '0', remaining: remaining ?? '0' };
  } catch {
    return null;
  }
}
