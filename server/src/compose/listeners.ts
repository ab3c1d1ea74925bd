/** Where the doors are: a listener is a transport, an address, and doors. Part of the composition root: see main.ts. */
import { PortcullisError } from '../base/errors.ts';
import { withoutRedaction } from '../base/log.ts';
import { close, listen } from '../http/listen.ts';
import { type HttpOptions, createHttpServer } from '../http/server.ts';
import type { Transport } from '../http/transport.ts';
import { createAddressReader } from '../net/client-address.ts';
import type { Flights } from '../policy/flights.ts';
import type { FastifyInstance } from 'fastify';
import type { Base } from './base.ts';
import type { Door, Doors } from './doors.ts';
import type { ClientCertificates } from './mtls.ts';

const furtherPorts = 20;

const stopping = new PortcullisError('unavailable', 'The gate is being stopped.', { retryAfterS: 5 });

export interface Listener {
  /** The option that says where. */
  readonly option: 'HTTP_ADDR' | 'GRPC_ADDR' | 'MTLS_ADDR';
  /** By what name the operator is told its address; null where somebody else tells it. */
  readonly title: string | null;
  readonly address: { readonly host: string; readonly port: number };
  readonly transport: Transport;
  readonly clientCertificate: HttpOptions['clientCertificate'];
  readonly doors: readonly Door[];
}

/** The listeners that are configured. */
export function configuredListeners({ config }: Base, doors: Doors, certificates: ClientCertificates): Listener[] {
  const { HTTP_ADDR, GRPC_ADDR, MTLS_ADDR, ENABLE_REFLECTION } = config.options;
  const { ofProxies, ofConnections, terminator } = certificates;
  const { health, metrics, models, control, browserControl, publicPages, signIn, logins, grpcHealth, reflection } =
    doors;
  const listeners: Listener[] = [];
  if (GRPC_ADDR !== null) {
    listeners.push({
      option: 'GRPC_ADDR',
      title: 'gRPC',
      address: GRPC_ADDR,
      transport: { kind: 'h2c' },
      clientCertificate: ofProxies,
      doors: [control, grpcHealth, ...(ENABLE_REFLECTION ? [reflection] : [])],
    });
  }
  if (MTLS_ADDR !== null && terminator !== null) {
    listeners.push({
      option: 'MTLS_ADDR',
      title: 'The listener for client certificates',
      address: MTLS_ADDR,
      transport: { kind: 'tls', terminator },
      clientCertificate: ofConnections,
      doors: [health, models, control, grpcHealth],
    });
  }
  // Last: what is reached by it may use the others.
  listeners.push({
    option: 'HTTP_ADDR',
    title: null,
    address: HTTP_ADDR,
    transport: { kind: 'http1' },
    clientCertificate: ofProxies,
    doors: [health, metrics, models, browserControl, publicPages, signIn, logins],
  });
  return listeners;
}

/**
 * Opens the listeners, until the drain: no new work, then the answers under way, then their end.
 * @returns the URL of each
 */
export async function openListeners(
  base: Base,
  listeners: readonly Listener[],
  flights: Flights,
  draining: () => boolean,
): Promise<ReadonlyMap<Listener['option'], string>> {
  const { config, notice, stops } = base;
  const apps: FastifyInstance[] = [];
  const end = () => flights.abortAll(stopping);
  stops.add('listeners', () => Promise.all(apps.map((app) => close(app, config.options.DRAIN_MS, end))));
  const urls = new Map<Listener['option'], string>();
  for (const listener of listeners) {
    const { option, title, address, transport, doors } = listener;
    const app = await createHttpServer(httpOptions(base, listener, draining), transport);
    apps.push(app);
    for (const door of doors) await door(app);
    const at = await listen(app, { option, ...address, furtherPorts: config.embedded ? furtherPorts : 0 });
    // Fastify does not know that TLS ends before it.
    const url = transport.kind === 'tls' ? at.replace(/^http:/, 'https:') : at;
    urls.set(option, url);
    if (address.port !== 0 && Number(new URL(url).port) !== address.port)
      notice(`Port ${address.port} is taken, so this is ${url}.`);
    if (title !== null) notice(`${title} is at ${url}`);
  }
  return urls;
}

function httpOptions(
  { config, log, metrics }: Base,
  { option, clientCertificate }: Listener,
  draining: () => boolean,
): HttpOptions {
  const { options } = config;
  return {
    log: withoutRedaction(log),
    metrics,
    publicUrl: options.PUBLIC_URL,
    allowedHosts: options.ALLOWED_HOSTS,
    allowedOrigins: options.ALLOWED_ORIGINS,
    clientAddress: createAddressReader(options.TRUSTED_PROXIES),
    clientCertificate,
    draining,
    hasPages: option === 'HTTP_ADDR',
  };
}
