import { randomBytes } from 'node:crypto';
import { queryAsOwner } from './database.ts';
import { bearer, fromNewAddress } from './doors.ts';
import { startGate, type TestGate } from './gate.ts';
import { begin, decide, poll, signIn } from './login-client.ts';
import { PeopleProvider } from './people-provider.ts';
import { fieldOf, type Visit, Visitor } from './visitor.ts';

/** Somebody who decides: at a browser, and with a key that they made themselves. */
export interface Approver {
  readonly id: string;
  readonly email: string;
  readonly visitor: Visitor;
  readonly key: string;
}

export interface AskedFor {
  readonly id: string;
  readonly digest: string;
  readonly state: string;
}

/** How a request stands. */
interface Standing {
  readonly state: string;
  readonly reason?: string;
  readonly response?: string;
  readonly editedWhatJson?: string;
}

export interface Minted {
  readonly approvalUrl: string;
  readonly token: string;
  readonly approvalId: string;
  readonly linkId: string;
  readonly personId: string;
  readonly expiresIn: string;
  readonly expiresAt: string;
}

/** HITL_SECRET of a test. */
export const newHitlSecret = () => randomBytes(32).toString('base64url');

/** A gate with links, people who sign in at a real identity provider, and an agent that asks them. */
export class ApprovalDesk {
  readonly provider: PeopleProvider;
  readonly gate: TestGate;
  readonly agent: { readonly agentId: string; readonly secret: string };
  #people = 0;
  #asked = 0;

  private constructor(provider: PeopleProvider, gate: TestGate, agent: ApprovalDesk['agent']) {
    this.provider = provider;
    this.gate = gate;
    this.agent = agent;
  }

  /** @param yaml sections of portcullis.yaml besides the one of the provider */
  static async open(env: Readonly<Record<string, string>>, yaml = ''): Promise<ApprovalDesk> {
    const provider = await PeopleProvider.start();
    const gate = await startGate({
      yaml: `${provider.section()}\n${yaml}`,
      env: { TRUSTED_PROXIES: '127.0.0.1', ...env },
    });
    provider.register([gate.url]);
    return new ApprovalDesk(provider, gate, await gate.agent('asker'));
  }

  async close(): Promise<void> {
    await this.gate.stop();
    await this.provider.close();
  }

  /** Signs somebody in, and logs their command line in. */
  async approver(groups: readonly string[] = ['approvers'], at = this.gate): Promise<Approver> {
    const sub = `approver-${++this.#people}`;
    const email = `${sub}@example.com`;
    const visitor = await signIn(at, this.provider, {
      sub,
      email,
      email_verified: true,
      name: `Person ${sub}`,
      groups,
    });
    const asked = await begin(at, { scope: 'admin approvals:decide runs:read' });
    await decide(at, visitor, asked.user_code);
    const { json } = await poll(at, asked.device_code);
    const key = (json as { access_token: string }).access_token;
    const { principal } = await at.api<{ principal: { personId: string } }>('SystemService/GetSelf', {}, key);
    return { id: principal.personId, email, visitor, key };
  }

  /** Shows anew who one is, as for what is grave. */
  async signInAnew({ visitor, email }: Approver, groups: readonly string[], returnTo: string): Promise<Visit> {
    const sub = email.split('@')[0] ?? '';
    this.provider.here = { sub, email, email_verified: true, name: `Person ${sub}`, groups };
    const page = await visitor.post(`${this.gate.url}/sign-in/start`, { return_to: returnTo, anew: '1' });
    const [, url = ''] = /content="0; url=([^"]+)"/.exec(page.text) ?? [];
    return visitor.get(url.replaceAll('&amp;', '&'));
  }

  /** A run of the agent's. */
  async run(): Promise<string> {
    const { run } = await this.gate.api<{ run: { id: string } }>(
      'RunService/StartRun',
      { workflow: 'videos' },
      this.agent.secret,
    );
    return run.id;
  }

  /** Asks for something, as the agent; each time for something else. */
  async ask(more: object = {}): Promise<AskedFor> {
    const { approval } = await this.gate.api<{ approval: AskedFor }>(
      'ApprovalService/RequestApproval',
      {
        kind: 'APPROVAL_KIND_TOOL_CALL',
        action: 'files.delete',
        argumentsJson: JSON.stringify({ path: `/tmp/${++this.#asked}` }),
        summary: 'Delete a file',
        ...more,
      },
      this.agent.secret,
    );
    return approval;
  }

  /** A gate of a new run. */
  async askAtGate(gate = 'ideate', more: object = {}): Promise<{ runId: string; approval: AskedFor }> {
    const runId = await this.run();
    const kind = 'APPROVAL_KIND_RUN_GATE';
    return { runId, approval: await this.ask({ kind, action: gate, runId, ...more }) };
  }

  /** Asks for a link. */
  async mint(key: string, runId: string, gate: string, body: object = {}, method = 'POST', at = this.gate) {
    const query = method === 'GET' ? `?${new URLSearchParams(body as Record<string, string>).toString()}` : '';
    const answer = await fetch(`${at.url}/v1/hitl/link/${runId}/${gate}${query}`, {
      method,
      headers: { ...bearer(key), 'content-type': 'application/json', ...fromNewAddress() },
      ...(method === 'POST' && { body: JSON.stringify(body) }),
    });
    return {
      status: answer.status,
      headers: answer.headers,
      json: (await answer.json()) as Minted & { code?: string; rule?: string },
    };
  }

  /** What is asked for at a gate, and a link to it. */
  async linked(who: Approver, more: object = {}): Promise<{ approval: AskedFor; link: Minted; runId: string }> {
    const { runId, approval } = await this.askAtGate('ideate', more);
    const { status, json } = await this.mint(who.key, runId, 'ideate');
    if (status !== 200) throw new Error(`no link: ${status} ${JSON.stringify(json)}`);
    return { approval, link: json, runId };
  }

  async state(id: string): Promise<Standing> {
    const { approval } = await this.gate.api<{ approval: Standing }>('ApprovalService/GetApproval', {
      approvalId: id,
    });
    return approval;
  }

  async audited(action: string, target: string): Promise<{ actor_id: string; payload: Record<string, unknown> }[]> {
    return queryAsOwner(
      this.gate.database,
      'SELECT actor_id, payload FROM audit_entries WHERE action = $1 AND target = $2 ORDER BY id',
      [action, target],
    );
  }
}

/** What the first form of a page for `action` has in its hidden fields. */
export function formOf(visit: Visit, action: string): Record<string, string> {
  const [form = ''] = visit.text.split('<form').filter((part) => part.includes(`name="action" value="${action}"`));
  const page = { ...visit, text: form };
  const fields = ['token', 'csrf', 'digest'].flatMap((name) => {
    const value = fieldOf(page, name);
    return value === '' ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(fields), action };
}

/** Sends the form of a page as the browser of somebody without a session does: from a page that tells nobody where it is. */
export function postFromLink(url: string, form: Readonly<Record<string, string>>, headers = {}): Promise<Visit> {
  const { origin, pathname } = new URL(url);
  return new Visitor().post(origin + pathname, form, { origin: 'null', 'sec-fetch-site': 'same-origin', ...headers });
}
