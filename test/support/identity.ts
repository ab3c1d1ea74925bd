import { createSecretKey, randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { newAccessRecord, type AccessRecord } from '../../server/src/base/access-record.ts';
import type { Clock } from '../../server/src/base/clock.ts';
import { systemClock } from '../../server/src/base/clock.ts';
import { createLogger } from '../../server/src/base/log.ts';
import { AgentService } from '../../server/src/identity/agent-service.ts';
import { ApiKeyVerifier } from '../../server/src/identity/api-key-verifier.ts';
import { Authenticator } from '../../server/src/identity/authenticator.ts';
import { CertificateCallers } from '../../server/src/identity/certificates/certificate-callers.ts';
import type { Presented } from '../../server/src/identity/certificates/presented.ts';
import type { Headers } from '../../server/src/identity/credential.ts';
import { IdentityIndex } from '../../server/src/identity/identity-index.ts';
import { KeyService } from '../../server/src/identity/key-service.ts';
import { KeyUses } from '../../server/src/identity/key-uses.ts';
import type { Principal } from '../../server/src/identity/model.ts';
import { PersonService } from '../../server/src/identity/person-service.ts';
import { ProjectService } from '../../server/src/identity/project-service.ts';
import { RefusalAudit } from '../../server/src/identity/refusal-audit.ts';
import type { Verifier } from '../../server/src/identity/verifier.ts';
import { ControlFeed } from '../../server/src/pg/control-feed.ts';
import { testBounds, type TestDatabase } from './database.ts';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #ms = 0;
  #startMs = Date.now();

  now(): number {
    return this.#startMs + this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  advance(ms: number): void {
    this.#ms += ms;
  }

  /** Sets the wall clock on, as an operator or NTP does; no time passes. */
  jump(ms: number): void {
    this.#startMs += ms;
  }

  /** Moves on to the time that it is for everybody else. */
  catchUp(): void {
    this.advance(Math.max(0, Date.now() - this.now()));
  }
}

/** Somebody who may do everything in `projectId`. */
export function operatorOf(projectId: string): Principal {
  return {
    kind: 'operator',
    id: `psn_of_${projectId}`,
    name: 'Test',
    projectId,
    scopes: new Set(['admin']),
    method: 'api_key',
    agentId: null,
    personId: null,
    keyId: null,
    runId: null,
    models: null,
    teams: [],
    requiresSignature: false,
    binding: null,
    cidrs: null,
    token: null,
    expiresAt: null,
  };
}

interface Shown {
  readonly url?: string;
  readonly from?: string;
  readonly access?: AccessRecord;
  readonly certificate?: Presented;
}

/** All of `identity/` for one replica on a database. */
export class TestIdentity {
  readonly db: TestDatabase;
  readonly clock: ManualClock;
  readonly pepper;
  readonly index: IdentityIndex;
  readonly feed: ControlFeed;
  readonly uses: KeyUses;
  readonly refusals: RefusalAudit;
  readonly authenticator: Authenticator;
  readonly projects: ProjectService;
  readonly people: PersonService;
  readonly agents: AgentService;
  readonly keys: KeyService;
  readonly apiKeys: ApiKeyVerifier;
  /** What the authenticator told: method and result of each attempt. */
  readonly attempts: string[] = [];
  readonly errors: unknown[] = [];
  refreshes = 0;

  constructor(
    db: TestDatabase,
    more: (identity: { readonly index: IdentityIndex; readonly clock: ManualClock }) => readonly Verifier[],
    pepper = createSecretKey(randomBytes(32)),
  ) {
    this.db = db;
    this.clock = new ManualClock();
    this.pepper = pepper;
    const onError = (error: unknown) => this.errors.push(error);
    this.index = new IdentityIndex(this.clock);
    this.feed = new ControlFeed({
      connection: { ...testBounds, connectionString: db.appUrl },
      parts: [this.index],
      clock: systemClock,
      log: createLogger('silent'),
    });
    this.uses = new KeyUses(db.pool, this.clock, onError);
    this.refusals = new RefusalAudit(db.pool, this.clock, onError);
    this.projects = new ProjectService(db.pool);
    this.people = new PersonService(db.pool);
    this.agents = new AgentService(db.pool);
    this.keys = new KeyService(db.pool, pepper, this.clock);
    this.apiKeys = new ApiKeyVerifier({
      pepper,
      index: this.index,
      refresh: () => {
        this.refreshes++;
        return this.feed.refresh();
      },
      clock: this.clock,
    });
    this.authenticator = new Authenticator({
      verifiers: [...more({ index: this.index, clock: this.clock }), this.apiKeys],
      certificates: new CertificateCallers({ index: this.index, clock: this.clock, projectId: 'prj_none' }),
      refusals: this.refusals,
      uses: this.uses,
      clock: this.clock,
      onAttempt: (method, result) => this.attempts.push(`${method} ${result}`),
    });
  }

  identify(
    headers: Headers,
    { url = '/v1/messages', from = '192.0.2.1', access = newAccessRecord('req_test'), certificate = null }: Shown = {},
  ): Promise<Principal> {
    return this.authenticator.identify({ headers, url, clientAddress: from, certificate, access });
  }

  bearer(text: string, from?: string): Promise<Principal> {
    return this.identify({ authorization: `Bearer ${text}` }, from === undefined ? {} : { from });
  }

  /** A project of its own with an operator for it. */
  async project(name: string): Promise<{ projectId: string; by: Principal }> {
    const { result } = await this.projects.create(operatorOf('prj_none'), 'req_test', { name });
    return { projectId: result.id, by: operatorOf(result.id) };
  }

  /** An agent with a key, both in the index already. */
  async agentKey(
    by: Principal,
    name: string,
    more: Partial<Parameters<KeyService['create']>[2]> = {},
  ): Promise<{ agentId: string; keyId: string; text: string }> {
    const { projectId } = by;
    const agent = await this.agents.create(by, 'req_test', {
      projectId,
      name,
      description: '',
      personId: null,
      issuer: null,
      subject: null,
    });
    const agentId = agent.result.id;
    const { result, version } = await this.keys.create(by, 'req_test', {
      projectId,
      kind: 'agent',
      agentId,
      name,
      scopes: ['models:invoke'],
      ...more,
    });
    await this.feed.reach(version, 5000);
    return { agentId, keyId: result.key.id, text: result.text };
  }

  /** Audit entries of an action, oldest first. */
  async audit(
    action: string,
  ): Promise<{ actor_id: string; target: string; project_id: string | null; payload: Record<string, unknown> }[]> {
    const { rows } = await this.db.pool.query(
      'SELECT actor_id, target, project_id, payload FROM audit_entries WHERE action = $1 ORDER BY at, id',
      [action],
    );
    return rows;
  }

  async close(): Promise<void> {
    await this.uses.stop();
    await this.refusals.stop();
    await this.feed.stop();
  }
}

/** Runs a statement as the superuser. */
export async function asOwner(db: TestDatabase, statement: string): Promise<void> {
  const client = new Client({ connectionString: db.ownerUrl });
  await client.connect();
  await client.query(statement);
  await client.end();
}

/** @param more verifiers asked before the one for API keys */
export async function openIdentity(
  db: TestDatabase,
  more: ConstructorParameters<typeof TestIdentity>[1] = () => [],
  pepper?: ConstructorParameters<typeof TestIdentity>[2],
): Promise<TestIdentity> {
  const identity = new TestIdentity(db, more, pepper);
  await identity.feed.start();
  return identity;
}
