import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

// Buckets reach from a cached refusal to the longest model call.
const requestSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600];

/** How a target of the configuration stands. */
export interface BreakerLevel {
  readonly provider: string;
  readonly model: string;
  readonly state: 'closed' | 'half_open' | 'open';
}

const breakerLevels = { closed: 0, half_open: 1, open: 2 } as const;

/** Where gauges look at each scrape; whoever owns the thing puts its reading here. */
function emptyReadings() {
  return {
    killEngaged: () => 0,
    callsInFlight: () => 0,
    controlAgeS: () => 0,
    rollupLagS: () => 0,
    tlsCertificateEndS: () => 0,
    auditEntries: (): Iterable<readonly [action: string, count: number]> => [],
    breakers: (): readonly BreakerLevel[] => [],
  };
}

type Readings = ReturnType<typeof emptyReadings>;
type Registers = [Registry];

/**
 * Every metric of the process. Labels are bounded: methods, route patterns, codes and configured names, never what a
 * caller made up. `docs/reference/metrics.md` is generated from this function.
 */
export function createMetrics() {
  const readings = emptyReadings();
  const registry = new Registry();
  const registers: Registers = [registry];
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    readings,
    ...httpMetrics(registers),
    ...identityMetrics(registers),
    ...tlsMetrics(registers, readings),
    ...modelMetrics(registers, readings),
    ...moneyMetrics(registers, readings),
    ...policyMetrics(registers, readings),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;

/** What HTTP carries. */
function httpMetrics(registers: Registers) {
  return {
    httpRequests: new Counter({
      name: 'http_requests_total',
      help: 'HTTP requests answered, by route pattern and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    }),
    httpDuration: new Histogram({
      name: 'http_request_duration_seconds',
      help: 'Time from the head of a request to the end of its answer.',
      labelNames: ['route'],
      buckets: requestSeconds,
      registers,
    }),
    httpRequestBytes: new Counter({
      name: 'http_request_size_bytes_total',
      help: 'Body bytes received.',
      labelNames: ['route'],
      registers,
    }),
    httpResponseBytes: new Counter({
      name: 'http_response_size_bytes_total',
      help: 'Body bytes sent.',
      labelNames: ['route'],
      registers,
    }),
    activeConnections: new Gauge({ name: 'active_connections', help: 'Open client connections.', registers }),
    rateLimitExceeded: new Counter({
      name: 'rate_limit_exceeded_total',
      help: 'Calls refused by a rate limit.',
      labelNames: ['class', 'identifier_type'],
      registers,
    }),
    idempotentReplays: new Counter({
      name: 'idempotent_replays_total',
      help: 'Answers given again for an Idempotency-Key.',
      registers,
    }),
  };
}

/** Who asks, and how that was shown. */
function identityMetrics(registers: Registers) {
  return {
    authAttempts: new Counter({
      name: 'auth_attempts_total',
      help: 'Credentials presented, by method and result.',
      labelNames: ['method', 'result'],
      registers,
    }),
    signatures: new Counter({
      name: 'request_signatures_total',
      help: 'Signatures of requests that were looked at, and those that were missing, by verdict.',
      labelNames: ['verdict'],
      registers,
    }),
    signIns: new Counter({
      name: 'sign_ins_total',
      help: 'People who tried to sign in at a browser, by method (key, oidc) and result.',
      labelNames: ['method', 'result'],
      registers,
    }),
    oauthGrants: new Counter({
      name: 'oauth_grants_total',
      help: 'Requests for a key at /oauth/token, by grant (device_code, refresh_token, token_exchange) and result.',
      labelNames: ['grant', 'result'],
      registers,
    }),
    jwksFetches: new Counter({
      name: 'jwks_fetch_total',
      help: "Fetches of a token issuer's keys.",
      labelNames: ['result'],
      registers,
    }),
    jwtVerification: new Histogram({
      name: 'jwt_verify_duration_seconds',
      help: "Verifications of an access token's signature; tokens seen before are not verified again.",
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05],
      registers,
    }),
    adminAuthFailures: new Counter({
      name: 'admin_auth_failures_total',
      help: 'Refused credentials on control and metrics routes, refused tries included.',
      registers,
    }),
  };
}

/** The listener for client certificates. */
function tlsMetrics(registers: Registers, readings: Readings) {
  return {
    tlsHandshakesRefused: new Counter({
      name: 'tls_handshakes_refused_total',
      help: 'Connections to the listener for client certificates that did not come to be, by why.',
      labelNames: ['reason'],
      registers,
    }),
    tlsReloads: new Counter({
      name: 'tls_reloads_total',
      help: 'Changes of the TLS files that were read, by whether what they hold is in force now.',
      labelNames: ['result'],
      registers,
    }),
    tlsCertificateEnd: gauge(
      registers,
      'tls_certificate_not_after_seconds',
      'When the certificate of the listener for client certificates ends, in Unix time; 0 without one.',
      () => readings.tlsCertificateEndS(),
    ),
  };
}

/** Model calls and their attempts. */
function modelMetrics(registers: Registers, readings: Readings) {
  return {
    modelDuration: new Histogram({
      name: 'model_request_duration_seconds',
      help: 'Model calls from admission to the last byte.',
      labelNames: ['route', 'outcome'],
      buckets: requestSeconds,
      registers,
    }),
    modelFirstToken: new Histogram({
      name: 'model_time_to_first_token_seconds',
      help: 'From the upstream write to the first byte of its answer body.',
      labelNames: ['route'],
      buckets: requestSeconds,
      registers,
    }),
    modelTokens: new Counter({
      name: 'model_tokens_total',
      help: 'Tokens settled, by class.',
      labelNames: ['class'],
      registers,
    }),
    modelCost: new Counter({
      name: 'model_cost_nanousd_total',
      help: 'Cost settled, in nano-USD.',
      labelNames: ['provenance'],
      registers,
    }),
    upstreamAttempts: new Counter({
      name: 'upstream_attempts_total',
      help: 'Attempts recorded in the ledger.',
      labelNames: ['provider', 'outcome'],
      registers,
    }),
    upstreamRetries: new Counter({
      name: 'upstream_retries_total',
      help: 'Attempts at a target that had failed the same call, made or, over the retry budget of the route, not made.',
      labelNames: ['route', 'result'],
      registers,
    }),
    breakerState: new Gauge({
      name: 'breaker_state',
      help: 'Whether a target is called: 0 closed (it is), 1 half open (probes are), 2 open (it is not).',
      labelNames: ['provider', 'model'],
      registers,
      collect() {
        this.reset();
        for (const { provider, model, state } of readings.breakers())
          this.set({ provider, model }, breakerLevels[state]);
      },
    }),
    callsInFlight: gauge(registers, 'calls_in_flight', 'Model calls that hold a place.', () =>
      readings.callsInFlight(),
    ),
    responseCache: new Counter({
      name: 'response_cache_total',
      help: 'Calls that asked the response cache, by result.',
      labelNames: ['result'],
      registers,
    }),
    cacheQuarantined: new Counter({
      name: 'response_cache_quarantined_total',
      help: 'Damaged entries that were found and put aside instead of being served, by what was wrong.',
      labelNames: ['reason'],
      registers,
    }),
  };
}

/** Budgets, bills and sums. */
function moneyMetrics(registers: Registers, readings: Readings) {
  return {
    budgetRefusals: new Counter({ name: 'budget_refusals_total', help: 'Calls refused by a budget.', registers }),
    budgetThresholds: new Counter({
      name: 'budget_thresholds_reached_total',
      help: 'Notices of budgets that reached a percent of their limit, by the mode of the budget.',
      labelNames: ['mode'],
      registers,
    }),
    reconciledDays: new Counter({
      name: 'reconciled_days_total',
      help: "Models of a provider's day whose bill was matched with the ledger, by what came of it.",
      labelNames: ['state'],
      registers,
    }),
    rollupRows: new Counter({
      name: 'telemetry_rollup_rows_total',
      help: 'Rows that this process added to the rollups, by their table.',
      labelNames: ['source'],
      registers,
    }),
    rollupLag: gauge(
      registers,
      'telemetry_rollup_lag_seconds',
      'How long ago what summaries lack may have been recorded, whichever process keeps the rollups.',
      () => readings.rollupLagS(),
    ),
  };
}

/** Verdicts, and the state that they stand on. */
function policyMetrics(registers: Registers, readings: Readings) {
  return {
    policyDecisions: new Counter({
      name: 'policy_decisions_total',
      help: 'Verdicts of the policy in force, and those of shadow rules and versions that differ from it, by mode.',
      labelNames: ['verdict', 'mode'],
      registers,
    }),
    policyEvaluationErrors: new Counter({
      name: 'policy_evaluation_errors_total',
      help: 'Conditions that could not be evaluated: each counts as a denial by its rule.',
      registers,
    }),
    policyEvaluation: new Histogram({
      name: 'policy_evaluation_duration_seconds',
      help: 'Time to judge a call by the policy in force and the one in shadow.',
      buckets: [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05],
      registers,
    }),
    policyRecordsDropped: new Counter({
      name: 'policy_records_dropped_total',
      help: 'Judged calls that were not recorded for simulation: the database was too slow or away, or the facts too large.',
      labelNames: ['reason'],
      registers,
    }),
    killEngaged: gauge(registers, 'kill_switch_engaged', 'Kill switches engaged now.', () => readings.killEngaged()),
    controlAge: gauge(
      registers,
      'control_state_age_seconds',
      'Age of the control state, from the start of the last good read.',
      () => readings.controlAgeS(),
    ),
    auditEntries: new Counter({
      name: 'audit_entries_total',
      help: 'Audit entries written by this process.',
      labelNames: ['action'],
      registers,
      collect() {
        this.reset();
        for (const [action, count] of readings.auditEntries()) this.inc({ action }, count);
      },
    }),
  };
}

function gauge([registry]: Registers, name: string, help: string, read: () => number) {
  return new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}
