import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DescMethod } from '@bufbuild/protobuf';
import { type ConnectRouter, createContextValues, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newAccessRecord } from '../base/access-record.ts';
import { createLogger } from '../base/log.ts';
import { AgentService } from '../gen/portcullis/v1/agent_pb.ts';
import type { Principal } from '../identity/model.ts';
import { permits } from '../identity/permission.ts';
import { type Scope, scopes } from '../identity/scopes.ts';
import { requestGate } from './auth.ts';
import { accessRecordKey, principalKey } from './context.ts';
import { Refusals } from './errors.ts';
import { methodRule, services } from './methods.ts';
import { serviceRegistrar } from './routes.ts';

/** What needs a credential: what does not is in a reviewed list (test/public-routes.test.ts). */
const methods = services.flatMap((service) => service.methods).filter((method) => methodRule(method).scope !== null);

function holding(...held: Scope[]): Principal {
  return {
    kind: 'operator',
    id: 'psn_1',
    name: 'Ada',
    projectId: 'prj_a',
    scopes: new Set(held),
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

const entered: string[] = [];
const denials: unknown[][] = [];
let caller: Principal | null = null;
let record = newAccessRecord('req_1');
/** Handlers only note that they were entered. */
function routes(router: ConnectRouter): void {
  const audit = { note: (...denial: unknown[]) => denials.push(denial) };
  const register = serviceRegistrar(router, new Refusals(createLogger('silent'), audit as never), []);
  for (const service of services) {
    const handlers = service.methods.map(({ localName, methodKind }) => {
      const enter = () => (entered.push(localName), {});
      const stream = async function* () {
        enter();
        yield* [];
      };
      return [localName, methodKind === 'unary' ? enter : stream];
    });
    register(service, Object.fromEntries(handlers) as ServiceImpl<typeof service>);
  }
}

const contextValues = () => createContextValues().set(principalKey, caller).set(accessRecordKey, record);
const server = createServer(connectNodeAdapter({ routes, contextValues }));
beforeAll(() => new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening)));
afterAll(() => new Promise((closed) => server.close(closed)));

async function call(method: DescMethod, principal: Principal | null, body: string) {
  entered.length = 0;
  denials.length = 0;
  caller = principal;
  record = newAccessRecord('req_1');
  const { port } = server.address() as AddressInfo;
  const isUnary = method.methodKind === 'unary';
  const answer = await fetch(`http://127.0.0.1:${port}/${method.parent.typeName}/${method.name}`, {
    method: 'POST',
    headers: { 'content-type': isUnary ? 'application/json' : 'application/connect+json' },
    body: isUnary ? body : enveloped(body),
  });
  if (isUnary) return { status: answer.status, answer: (await answer.json()) as Answer };
  return streamEnd(Buffer.from(await answer.arrayBuffer()));
}

interface Answer {
  readonly code: string;
  readonly details: object[];
}

/** A message of a stream (Connect protocol, "Enveloped-Message"). */
function enveloped(text: string): Uint8Array<ArrayBuffer> {
  const envelope = new Uint8Array(5 + Buffer.byteLength(text));
  new DataView(envelope.buffer).setUint32(1, envelope.length - 5);
  envelope.set(Buffer.from(text), 5);
  return envelope;
}

/** A stream says at its end what a unary method says by its status (Connect protocol, "EndStreamResponse"). */
function streamEnd(body: Buffer): { status: number; answer: Answer } {
  expect(body[0]).toBe(2);
  const { error } = JSON.parse(body.subarray(5).toString()) as { error?: Answer };
  const statuses: Readonly<Record<string, number>> = { unauthenticated: 401, permission_denied: 403 };
  return { status: error ? (statuses[error.code] ?? 500) : 200, answer: error ?? { code: '', details: [] } };
}

// No server can read this: who is refused was refused before.
const unreadable = '{"';

describe.each(methods.map((method) => [`${method.parent.name}.${method.name}`, method] as const))(
  '%s',
  (name, method) => {
    const { scope: needed } = methodRule(method);

    test('is closed to strangers, before their body is read', async () => {
      expect(await call(method, null, unreadable)).toMatchObject({ status: 401, answer: { code: 'unauthenticated' } });
      expect([entered, denials]).toEqual([[], []]);
    });

    const covers = (scope: Scope) => needed === 'authenticated' || (needed !== null && permits(holding(scope), needed));

    test('is open to every scope that covers what it declares', async () => {
      for (const scope of scopes.filter(covers)) {
        expect((await call(method, holding(scope), '{}')).status).toBe(200);
        expect([entered, denials]).toEqual([[method.localName], []]);
      }
    });

    test('is closed to every other scope, and its handler is not entered', async () => {
      for (const scope of scopes.filter((candidate) => !covers(candidate))) {
        const principal = holding(scope);
        const rule = `scope:${needed}`;
        const debug = { code: 'insufficient_scope', requestId: 'req_1', final: true, rule };
        const { status, answer } = await call(method, principal, unreadable);
        expect([status, answer.code]).toEqual([403, 'permission_denied']);
        expect(answer.details[0]).toMatchObject({ type: 'portcullis.v1.ErrorInfo', debug });
        expect(entered).toEqual([]);
        expect(denials).toEqual([['scope.denied', principal, `portcullis.v1.${name}`, 'req_1']]);
        expect(record).toMatchObject({ decision: 'deny', code: 'insufficient_scope', rule });
      }
    });
  },
);

test('the gate lets anybody read what is public, and nobody enter what has no rule', () => {
  const refusals = new Refusals(createLogger('silent'), { note: () => undefined } as never);
  const method = AgentService.method.getAgent;
  const context = { method, values: createContextValues() } as never;
  const open = requestGate(new Map([[method, { access: 'public_read', scope: null }]]), refusals);
  expect(() => open(context)).not.toThrow();
  expect(() => requestGate(new Map(), refusals)(context)).toThrow('The gate met an internal error.');
});
