import { PortcullisError } from './errors.ts';
import { AgentService } from './gen/portcullis/v1/agent_pb.ts';
import { AnalyticsService } from './gen/portcullis/v1/analytics_pb.ts';
import { BudgetService } from './gen/portcullis/v1/budget_pb.ts';
import { ExportService } from './gen/portcullis/v1/export_pb.ts';
import { JournalService } from './gen/portcullis/v1/journal_pb.ts';
import { PolicyService } from './gen/portcullis/v1/policy_pb.ts';
import { ProjectService } from './gen/portcullis/v1/project_pb.ts';
import { ReconciliationService } from './gen/portcullis/v1/reconciliation_pb.ts';
import { RunService } from './gen/portcullis/v1/run_pb.ts';
import { SystemService } from './gen/portcullis/v1/system_pb.ts';
import { createServiceClient, type ServiceClient } from './service-client.ts';
import { checkedKey, createFetchTransport, type KeySource } from './transport.ts';

/** How to reach a gate, and as whom. */
export interface PortcullisOptions {
  /** The address of the gate, such as `https://gate.example.com`; plain http on this machine alone. */
  readonly url: string;
  /**
   * An API key or access token. A function is asked before each request, so that it can give a token that is renewed.
   * Without a key there are only the methods that are public.
   */
  readonly key?: KeySource;
  /** Milliseconds that a unary call may take with its repetitions: 30 000 unless given; Infinity for no end. A call may say otherwise. */
  readonly timeoutMs?: number;
  /**
   * How many tries may follow the first, of what may be repeated: 4 unless given; 0 for none. Those that a rate limit puts off
   * are not counted.
   */
  readonly repeatsMax?: number;
  /**
   * Milliseconds without a message after which a stream is taken for broken, and goes on where it was: 60 000 unless given. A
   * watch tells every 15 seconds that it lives.
   */
  readonly silenceMs?: number;
  /** Lets the key go over plain http to another machine, where something else (a mesh, a tunnel) encrypts. */
  readonly allowPlainHttp?: boolean;
  /** In place of the global `fetch`, for a proxy or a client certificate, say. */
  readonly fetch?: typeof globalThis.fetch;
}

const services = {
  /** Agents, their API keys and signing keys. */
  agents: AgentService,
  /** What calls used and cost; versions of prompts, and which of them is better. */
  analytics: AnalyticsService,
  /** Budgets and where they stand. */
  budgets: BudgetService,
  /** What a project holds. */
  exports: ExportService,
  /** Tasks, notes, the changelog and benchmarks. */
  journal: JournalService,
  /** Rules, caps and the kill switch. */
  policy: PolicyService,
  /** Projects, people, teams, sessions and logins. */
  projects: ProjectService,
  /** What providers billed, against what was measured. */
  reconciliation: ReconciliationService,
  /** Runs and what happens in them. */
  runs: RunService,
  /** The gate, and who one is to it. */
  system: SystemService,
};

/** A gate to call: each service of its contract, with each method as a function. */
export type Portcullis = {
  /** Its address, without a slash at the end: model calls go to `${url}/v1/…`. */
  readonly url: string;
} & { readonly [Name in keyof typeof services]: ServiceClient<(typeof services)[Name]> };

/**
 * Makes a client of a gate. Nothing is sent before the first call, and nothing has to be closed.
 * @param options - the gate, the key, and bounds of calls
 * @returns clients of all services
 * @throws {@link PortcullisError} `invalid_argument` for a URL or key that cannot be one, or a key that would cross a
 *   network in the clear
 */
export function createPortcullis(options: PortcullisOptions): Portcullis {
  const url = checkedUrl(options.url, options.allowPlainHttp ?? false);
  const { key } = options;
  if (typeof key === 'string') checkedKey(key);
  // Called as `globalThis.fetch`: browsers refuse it as a method of anything else.
  const fetchFunction = options.fetch ?? ((...given) => globalThis.fetch(...given));
  const caller = {
    url,
    transport: createFetchTransport(url, key, fetchFunction),
    timeoutMs: options.timeoutMs ?? 30_000,
    repeatsMax: options.repeatsMax ?? 4,
    silenceMs: options.silenceMs ?? 60_000,
  };
  const clients = Object.entries(services).map(([name, service]) => [name, createServiceClient(service, caller)]);
  return { url, ...(Object.fromEntries(clients) as Omit<Portcullis, 'url'>) };
}

function checkedUrl(text: string, allowPlainHttp: boolean): string {
  const refuse = (sentence: string) => new PortcullisError('invalid_argument', sentence);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse('The URL of the gate must begin with https:// (or http:// on this machine).');
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw refuse('The URL of the gate must begin with https:// (or http:// on this machine).');
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw refuse('The URL of the gate is a plain address: the key is an option of its own.');
  }
  if (url.protocol === 'http:' && !allowPlainHttp && !isLoopback(url.hostname)) {
    throw refuse(`${url.host} is not this machine, and http would carry the key in the clear: use https.`);
  }
  return url.href.replace(/\/+$/, '');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
