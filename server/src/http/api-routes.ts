import { createContextValues } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import type { FastifyInstance } from 'fastify';
import { accessRecordKey, principalKey, refusalKey } from '../api/context.ts';
import type { ServiceDeps } from '../api/deps.ts';
import { registerServices } from '../api/routes.ts';
import { PortcullisError } from '../base/errors.ts';
import { type GuardOptions, type RateClass, admitCaller } from './guard.ts';
import { discardBody } from './refusal.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Why the guard of the control API lets nothing of this request through. */
    refusal: PortcullisError | null;
  }
}

/**
 * The control API. The guard runs before a byte of the body is read; its refusal is left to the authorization layer of
 * the services, which alone can put it in the protocol that the client speaks (Connect, gRPC-Web).
 */
export async function registerApi(
  app: FastifyInstance,
  guardOptions: GuardOptions,
  rate: RateClass,
  deps: ServiceDeps,
): Promise<void> {
  await app.register(async (scope) => {
    scope.decorateRequest('refusal', null);
    scope.addHook('onRequest', async (request, reply) => {
      try {
        await admitCaller(guardOptions, rate, request, reply);
      } catch (thrown) {
        request.refusal = PortcullisError.from(thrown);
        await discardBody(request, reply);
      }
    });
    await scope.register(fastifyConnectPlugin, {
      routes: (router) => registerServices(router, deps),
      contextValues: ({ principal, refusal, access }) =>
        createContextValues().set(principalKey, principal).set(refusalKey, refusal).set(accessRecordKey, access),
    });
  });
}
