import { createSecretKey, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, createContextValues, type Interceptor, type Transport } from '@connectrpc/connect';
import { connectNodeAdapter, createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { accessRecordKey, principalKey } from '../../server/src/api/context.ts';
import type { ServiceDeps } from '../../server/src/api/deps.ts';
import { PageTokens } from '../../server/src/api/page-tokens.ts';
import { registerServices } from '../../server/src/api/routes.ts';
import { type AccessRecord, newAccessRecord } from '../../server/src/base/access-record.ts';
import { systemClock } from '../../server/src/base/clock.ts';
import { newId } from '../../server/src/base/ids.ts';
import { createLogger } from '../../server/src/base/log.ts';
import { BudgetService } from '../../server/src/budget/budget-service.ts';
import { checkCaps, enforceCaps } from '../../server/src/budget/policy-caps.ts';
import { ExportService } from '../../server/src/export/service.ts';
import { Idempotency } from '../../server/src/idempotency/service.ts';
import { AgentService } from '../../server/src/identity/agent-service.ts';
import { ApiKeyVerifier } from '../../server/src/identity/api-key-verifier.ts';
import { Authenticator } from '../../server/src/identity/authenticator.ts';
import { CertificateCallers } from '../../server/src/identity/certificates/certificate-callers.ts';
import { IdentityIndex } from '../../server/src/identity/identity-index.ts';
import type { NewKey } from '../../server/src/identity/key-input.ts';
import { KeyService } from '../../server/src/identity/key-service.ts';
import { KeyUses } from '../../server/src/identity/key-uses.ts';
import type { Principal } from '../../server/src/identity/model.ts';
import { LoginService } from '../../server/src/identity/logins/service.ts';
import { PersonService } from '../../server/src/identity/person-service.ts';
import { ProjectService } from '../../server/src/identity/project-service.ts';
import { RefusalAudit } from '../../server/src/identity/refusal-audit.ts';
import { Nonces } from '../../server/src/identity/signatures/nonces.ts';
import { RequestSignatures } from '../../server/src/identity/signatures/request-signatures.ts';
import { SigningKeyService } from '../../server/src/identity/signatures/service.ts';
import { SigningKeyIndex } from '../../server/src/identity/signatures/signing-key-index.ts';
import { SessionService } from '../../server/src/identity/sessions/service.ts';
import { TeamService } from '../../server/src/identity/team-service.ts';
import { ControlFeed } from '../../server/src/pg/control-feed.ts';
import { KillIndex } from '../../server/src/policy/kill-index.ts';
import { KillService } from '../../server/src/policy/kill-service.ts';
import { PolicyIndex } from '../../server/src/policy/policy-index.ts';
import { PolicySimulator } from '../../server/src/policy/simulation.ts';
import { PolicyVersions } from '../../server/src/policy/version-service.ts';
import { JournalService } from '../../server/src/journal/service.ts';
import { TaskService } from '../../server/src/journal/task-service.ts';
import { ReconciliationService } from '../../server/src/reconciliation/service.ts';
import { RunEvents } from '../../server/src/run/events.ts';
import { PromptAttempts } from '../../server/src/run/prompt-attempts.ts';
import { RunIndex } from '../../server/src/run/run-index.ts';
import { RunService } from '../../server/src/run/service.ts';
import { RunWatches } from '../../server/src/run/watches.ts';
import { Opinions } from '../../server/src/telemetry/leaderboard/opinion-service.ts';
import { PublicBoards } from '../../server/src/telemetry/leaderboard/public-board.ts';
import { PublishedWorkflows } from '../../server/src/telemetry/leaderboard/published-service.ts';
import { Leaderboard } from '../../server/src/telemetry/leaderboard/service.ts';
import { PromptVersions } from '../../server/src/telemetry/prompts/service.ts';
import { Summaries } from '../../server/src/telemetry/summaries.ts';
import { createTestDatabase, testBounds, type TestDatabase } from './database.ts';
import { judgeOf } from './policy.ts';

/** The control plane on a socket of its own, with real keys on a real database. */
export interface ControlApi {
  readonly url: string;
  readonly db: TestDatabase;
  readonly deps: ServiceDeps;
  readonly kills: KillIndex;
  readonly logLines: readonly string[];
  /** What the access log would say, in the order of the requests. */
  readonly records: AccessRecord[];
  newProject(): Promise<string>;
  newKey(projectId: string, scopes: readonly string[], more?: Partial<NewKey>): Promise<string>;
  client<S extends DescService>(service: S, key: string | null, protocol?: Protocol): Client<S>;
  /** A plain JSON request, as curl makes it. */
  post(method: string, key: string | null, body: string): Promise<{ status: number; headers: Headers; body: Body }>;
  stop(): Promise<void>;
}

type Protocol = 'connect-json' | 'connect-binary' | 'grpc-web';
type Body = Record<string, unknown> & { details?: { type: string; debug: Record<string, unknown> }[] };

/** @param change replaces parts of what the services work with, to make them fail */
export async function startControlApi(
  change: (deps: ServiceDeps) => ServiceDeps = (deps) => deps,
): Promise<ControlApi> {
  const db = await createTestDatabase();
  const { pool } = db;
  const lines: string[] = [];
  const log = createLogger('info', { write: (line) => void lines.push(line) });
  const pepper = createSecretKey(randomBytes(32));
  const identity = new IdentityIndex(systemClock);
  const signingSecrets = { id: randomBytes(8), key: createSecretKey(randomBytes(32)) };
  const signers = new SigningKeyIndex(signingSecrets, (id) => log.error({ id }, 'a signing key cannot be opened'));
  const kills = new KillIndex();
  const policies = new PolicyIndex(log);
  const runIndex = new RunIndex(() => feed.refresh());
  const connection = { ...testBounds, connectionString: db.appUrl };
  const feed: ControlFeed = new ControlFeed({
    connection,
    parts: [identity, signers, kills, runIndex, policies],
    clock: systemClock,
    log,
  });
  await feed.start();
  const refusals = new RefusalAudit(pool, systemClock, (error) => log.error({ err: error }, 'audit'));
  const budgets = new BudgetService(pool, () => Date.now());
  const deps = change({
    pool,
    clock: systemClock,
    log,
    feed,
    refusals,
    pageTokens: new PageTokens(randomBytes(32)),
    agents: new AgentService(pool),
    keys: new KeyService(pool, pepper, systemClock),
    signingKeys: new SigningKeyService(pool, signingSecrets),
    signatures: new RequestSignatures({
      keys: signers,
      nonces: new Nonces({ pool, now: () => Date.now() }),
      authenticator: { refuseSignature: (...refused) => authenticator.refuseSignature(...refused) },
      signedScopes: () => new Set(),
      refresh: () => feed.refresh(),
      now: () => Date.now(),
      onVerdict: () => undefined,
    }),
    people: new PersonService(pool),
    teams: new TeamService(pool),
    sessions: new SessionService(pool, createSecretKey(randomBytes(32))),
    logins: new LoginService(pool, { pepper, key: createSecretKey(randomBytes(32)) }),
    projects: new ProjectService(pool),
    budgets,
    kills: new KillService(pool, {
      isProvider: () => true,
      databaseNow: () => Date.now(),
      twoPeople: false,
      controlAgeMaxMs: 10_000,
    }),
    runs: new RunService(pool, () => Date.now(), kills, budgets, judgeOf(policies)),
    promptVersions: new PromptVersions(pool),
    summaries: new Summaries(pool, systemClock),
    opinions: new Opinions(pool),
    leaderboard: new Leaderboard(pool),
    publishedWorkflows: new PublishedWorkflows(pool),
    publicBoards: new PublicBoards(),
    tasks: new TaskService(pool),
    journal: new JournalService(pool),
    exports: new ExportService(pool, log),
    draining: () => false,
    policies: new PolicyVersions(pool, { checkCaps, enforceCaps }),
    simulator: new PolicySimulator(pool, systemClock),
    reconciliation: new ReconciliationService(pool, systemClock, { log, onMatched: () => undefined }, () => true),
    routedProviders: () => new Set(['claude']),
    runEvents: new RunEvents(pool, () => Date.now()),
    runWatches: new RunWatches({ pool, clock: systemClock, draining: () => false }),
    promptAttempts: new PromptAttempts(pool, systemClock),
    identity,
    serverVersion: '0.0.0-test',
    idempotency: new Idempotency({ pool, key: createSecretKey(randomBytes(32)), now: () => Date.now(), waitMs: 5_000 }),
    onReplay: () => undefined,
    ledgerDaysKept: 90,
    telemetryDaysKept: { run_events: 90, benchmarks: 180 },
  });
  const uses = new KeyUses(pool, systemClock, (error) => log.error({ err: error }, 'uses'));
  const authenticator: Authenticator = new Authenticator({
    verifiers: [new ApiKeyVerifier({ pepper, index: identity, refresh: () => feed.refresh(), clock: systemClock })],
    certificates: new CertificateCallers({ index: identity, clock: systemClock, projectId: 'prj_none' }),
    refusals,
    uses,
    clock: systemClock,
    onAttempt: () => undefined,
  });
  const records: AccessRecord[] = [];
  const callers = new WeakMap<object, Principal>();
  const recordsByRequest = new WeakMap<object, AccessRecord>();
  const recordOf = (raw: object) => recordsByRequest.get(raw) ?? newAccessRecord('');
  const answer = connectNodeAdapter({
    routes: (router) => registerServices(router, deps),
    contextValues: (raw) =>
      createContextValues()
        .set(principalKey, callers.get(raw) ?? null)
        .set(accessRecordKey, recordOf(raw)),
  });
  const identify = async (raw: IncomingMessage): Promise<void> => {
    const access = newAccessRecord(newId('req'));
    records.push(access);
    recordsByRequest.set(raw, access);
    const { headers, url = '' } = raw;
    // A stranger passes here, so that it is the authorization layer of the services that refuses.
    const principal = await authenticator
      .identify({ headers, url, clientAddress: '127.0.0.1', certificate: null, access })
      .catch(() => null);
    if (principal) callers.set(raw, principal);
  };
  const server = createServer((raw, response) => void identify(raw).then(() => answer(raw, response)));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const root = rootOf('prj_none');

  return {
    url,
    db,
    deps,
    kills,
    logLines: lines,
    records,
    newProject: async () => (await deps.projects.create(root, 'req_t', { name: newId('prj') })).result.id,
    newKey: async (projectId, scopes, more = {}) => {
      const key: NewKey = { projectId, name: 'test key', kind: 'operator', scopes, ...more };
      return (await deps.keys.create(root, 'req_t', key)).result.text;
    },
    client: (service, key, protocol = 'connect-json') => createClient(service, transport(url, key, protocol)),
    post: async (method, key, body) => {
      const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
      const headers = { 'content-type': 'application/json', ...authorization };
      const answer = await fetch(`${url}/portcullis.v1.${method}`, { method: 'POST', headers, body });
      return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Body };
    },
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await feed.stop();
      await refusals.stop();
      await uses.stop();
      await db.drop();
    },
  };
}

function transport(baseUrl: string, key: string | null, protocol: Protocol): Transport {
  const authorize: Interceptor = (next) => (request) => {
    if (key !== null) request.header.set('authorization', `Bearer ${key}`);
    return next(request);
  };
  const options = { baseUrl, httpVersion: '1.1' as const, interceptors: [authorize] };
  if (protocol === 'grpc-web') return createGrpcWebTransport(options);
  return createConnectTransport({ ...options, useBinaryFormat: protocol === 'connect-binary' });
}

/** May do everything: makes what a test begins with. */
function rootOf(projectId: string): Principal {
  return {
    kind: 'operator',
    id: 'root',
    name: 'root',
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
