import { heldCallRetryS, heldCallRoundsMax } from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import { type Approval, digestInForce, isApproved } from '../../approval/model.ts';
import { whatOf } from '../../approval/what.ts';
import type { Principal } from '../../identity/model.ts';
import type { Flight } from '../../policy/flights.ts';
import type { RequiredApproval } from '../../policy/judge.ts';
import { type Plan, authorize } from './authorize.ts';
import type { Call } from './call.ts';
import { ClientStream } from './client-stream.ts';
import type { ModelGate } from './gate.ts';
import { approvedBody, argumentsOf, pendingError, refusalBy, requestFor } from './held-request.ts';
import { identify } from './identify.ts';

/** A call, planned. */
export interface Planned {
  readonly call: Call;
  readonly principal: Principal;
  readonly flight: Flight;
  readonly plan: Plan;
  readonly body: Buffer;
}

/**
 * Where rules ask for people's approvals: asks for each of them, bound to exactly this call, and waits for a while without
 * money or a connection of the database. What was approved is judged again now, as it was edited, and each approval is used
 * once. Where nobody decides in time the same call again goes on waiting (decision 0029).
 * @throws PortcullisError approval_refused, approval_pending, the reason why the call must end, and what `identify` and
 * `authorize` throw
 */
export async function approve(gate: ModelGate, planned: Planned): Promise<Planned> {
  if (planned.plan.approvals.length === 0) return planned;
  const held = new HeldCall(gate, planned);
  try {
    const approved = await held.approved();
    gate.metrics.heldCalls.inc({ outcome: held.wasEdited ? 'edited' : 'approved' });
    return approved;
  } catch (thrown) {
    gate.metrics.heldCalls.inc({ outcome: outcomes[PortcullisError.from(thrown).code] ?? 'ended' });
    throw thrown;
  } finally {
    held.stop();
  }
}

const outcomes: Readonly<Partial<Record<string, string>>> = {
  approval_refused: 'refused',
  approval_pending: 'pending',
  client_closed: 'left',
  killed: 'killed',
};

/** What lets a rule's demand be met; a grant was counted when it was given. */
type Given = { readonly digest: Buffer; readonly ruleDigest: string; readonly approval: Approval | null };

/** One call that waits for people. */
class HeldCall {
  readonly #gate: ModelGate;
  readonly #stream: ClientStream | null;
  readonly #endsAt: number;
  readonly #given = new Map<string, Given>();
  #planned: Planned;
  wasEdited = false;

  constructor(gate: ModelGate, planned: Planned) {
    const { plan, call } = planned;
    this.#gate = gate;
    this.#planned = planned;
    this.#endsAt = gate.clock.monotonic() + gate.held.waitMs;
    const isStream = plan.kind === 'call' && plan.streamed;
    this.#stream = isStream ? new ClientStream(call, gate.streamPingMs) : null;
  }

  stop(): void {
    this.#stream?.stop();
  }

  async approved(): Promise<Planned> {
    for (let round = 0; round < heldCallRoundsMax; round++) {
      const missing = this.#planned.plan.approvals.filter((required) => !this.#isGiven(required));
      if (missing.length === 0 && (await this.#use())) return this.#planned;
      await this.#obtain(missing);
      await this.#judgeAgain();
    }
    throw new PortcullisError('conflict', 'What this call needs an approval for changed again and again: try it anew.');
  }

  /** Whether it was approved for this rule as it stands, and for this body. */
  #isGiven(required: RequiredApproval): boolean {
    const given = this.#given.get(required.rule);
    return given?.ruleDigest === required.ruleDigest && given.digest.equals(this.#digestFor(required.rule, given));
  }

  /** The digest of the call as it would be made. What action it is stays as it was asked, whatever an edit makes of the model. */
  #digestFor(rule: string, { approval }: Pick<Given, 'approval'>): Buffer {
    const { call, principal, body } = this.#planned;
    const { modelAsked, runId } = call.attempt;
    const action = approval?.action ?? `models.invoke:${modelAsked ?? ''}`;
    return whatOf(principal, { action, runId, args: argumentsOf(call, rule, body) }).digest;
  }

  /** Uses what was approved. @returns false where another call did: this one is another run, and asked for anew */
  async #use(): Promise<boolean> {
    const { call, flight, plan } = this.#planned;
    const used = plan.approvals.flatMap(({ rule }) => this.#given.get(rule)?.approval ?? []);
    if (!(await this.#gate.held.use(used, call.exchange.requestId))) {
      this.#given.clear();
      return false;
    }
    call.signal.throwIfAborted();
    flight.check();
    return true;
  }

  /** Asks for what is missing, and waits for all of it. @throws PortcullisError approval_refused, approval_pending */
  async #obtain(missing: readonly RequiredApproval[]): Promise<void> {
    const { call, principal, plan, body } = this.#planned;
    const expiryS = Math.min(...plan.approvals.map((required) => required.expiryS));
    const requests = missing.map((required) => requestFor(call, principal, { required, body, expiryS }));
    const asked = await this.#gate.held.ask(requests);
    const pending = asked.filter((one) => one !== 'granted');
    this.#tell(pending);
    const settled = await this.#settle(pending);
    for (const [at, required] of missing.entries()) {
      const one = asked[at];
      const approval = one === 'granted' ? null : (settled.find(({ id }) => id === one?.id) ?? null);
      const digest = approval === null ? this.#digestFor(required.rule, { approval }) : digestInForce(approval);
      const ruleDigest = approval?.rule?.digest.toString('hex') ?? required.ruleDigest;
      this.#given.set(required.rule, { digest, ruleDigest, approval });
    }
    const [edited] = settled.flatMap(({ editedWhat }) => editedWhat ?? []);
    if (edited === undefined) return;
    this.wasEdited = true;
    this.#planned = { ...this.#planned, body: approvedBody(edited) };
  }

  /** Waits for all at once: the first that is refused ends it. */
  async #settle(pending: readonly Approval[]): Promise<Approval[]> {
    const { call } = this.#planned;
    const others = new AbortController();
    const signal = AbortSignal.any([call.signal, others.signal]);
    const settle = async (asked: Approval): Promise<Approval> => {
      const leftMs = this.#endsAt - this.#gate.clock.monotonic();
      const approval = asked.state === 'pending' ? await this.#gate.held.wait(asked, signal, leftMs) : asked;
      if (isApproved(approval)) return approval;
      throw approval.state === 'pending' ? pendingError(approval, heldCallRetryS) : refusalBy(approval);
    };
    try {
      return await Promise.all(pending.map(settle));
    } finally {
      others.abort();
    }
  }

  /** Which requests it waits for, while that can still be said. */
  #tell(pending: readonly Approval[]): void {
    const { response } = this.#planned.call.exchange;
    if (response.headersSent || pending.length === 0) return;
    response.setHeader('portcullis-approval', pending.map(({ id }) => id).join(', '));
  }

  /** The credential, the run, the models, the policy, the kill switch and the routes, all as they are now. */
  async #judgeAgain(): Promise<void> {
    const { call, flight, body, plan: before } = this.#planned;
    call.signal.throwIfAborted();
    flight.check();
    const principal = await identify(this.#gate, call.exchange);
    const plan = await authorize(this.#gate, call, principal, flight, body, true);
    if (isStreamed(plan) !== isStreamed(before))
      throw new PortcullisError('invalid_argument', 'Whoever edited this call changed whether its answer is a stream.');
    this.#planned = { ...this.#planned, principal, plan };
  }
}

function isStreamed(plan: Plan): boolean {
  return plan.kind === 'call' && plan.streamed;
}
