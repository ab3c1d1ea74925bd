import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import {
  deviceCodeMs,
  devicePollS,
  deviceRequestsPerMinute,
  refreshesPerMinute,
  tokenRequestsPerMinute,
} from '../../base/limits.ts';
import type { Granted, Issued } from '../../identity/logins/model.ts';
import { takeOne, takeTurn } from '../rates.ts';
import { noteRefusal } from '../refusal.ts';
import { placeOf } from '../sign-in/place.ts';
import {
  OAuthRefusal,
  parameter,
  registerOAuthEndpoints,
  requireParameter,
  scopeParameter,
  sendError,
} from './form.ts';
import { clientId, devicePath, type LoginOptions } from './options.ts';

type Grant = (options: LoginOptions, request: FastifyRequest) => Promise<Granted>;

const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';
const subjectTokenTypes = new Set([
  accessTokenType,
  'urn:ietf:params:oauth:token-type:id_token',
  'urn:ietf:params:oauth:token-type:jwt',
]);

/** By `grant_type`: what the metrics call it, and what it does. */
const grants: ReadonlyMap<string, { readonly name: string; readonly grant: Grant }> = new Map([
  ['urn:ietf:params:oauth:grant-type:device_code', { name: 'device_code', grant: byDeviceCode }],
  ['refresh_token', { name: 'refresh_token', grant: byRefresh }],
  ['urn:ietf:params:oauth:grant-type:token-exchange', { name: 'token_exchange', grant: byExchange }],
]);

/** The endpoints at which programs get keys: RFC 6749, 7009, 8628, 8693. */
export async function registerOAuth(app: FastifyInstance, options: LoginOptions): Promise<void> {
  await registerOAuthEndpoints(app, options.log, (scope) => {
    scope.post('/oauth/device_authorization', (request, reply) => authorizeDevice(options, request, reply));
    scope.post('/oauth/token', (request, reply) => giveToken(options, request, reply));
    scope.post('/oauth/revoke', (request, reply) => revoke(options, request, reply));
  });
}

async function authorizeDevice(
  options: LoginOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  takeTurn(options, request, 'device_authorization', deviceRequestsPerMinute);
  requireClient(request);
  const { deviceCode, userCode } = await options.devices.ask({
    clientName: parameter(request, 'client_name') ?? 'a program that does not say its name',
    address: request.clientAddress,
    scopes: scopeParameter(request),
  });
  const origin = (options.publicUrl ?? placeOf(request, null).origin).replace(/\/$/, '');
  return reply.send({
    device_code: deviceCode,
    user_code: userCode,
    verification_uri: origin + devicePath,
    verification_uri_complete: `${origin}${devicePath}?user_code=${userCode}`,
    expires_in: deviceCodeMs / 1000,
    interval: devicePollS,
  });
}

async function giveToken(options: LoginOptions, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  takeTurn(options, request, 'oauth_token', tokenRequestsPerMinute);
  const asked = grants.get(requireParameter(request, 'grant_type'));
  if (!asked) throw new OAuthRefusal('unsupported_grant_type', 'This server does not know this grant_type.');
  const count = (result: string) => options.metrics.oauthGrants.inc({ grant: asked.name, result });
  try {
    const granted = await asked.grant(options, request);
    if ('issued' in granted) {
      count('issued');
      return await reply.send(tokenAnswer(granted.issued, asked.name === 'token_exchange'));
    }
    const { error, description } = granted.refused;
    const isWaiting = error === 'authorization_pending' || error === 'slow_down';
    count(isWaiting ? 'pending' : 'refused');
    if (!isWaiting) noteRefusal(request.access, new PortcullisError('unauthenticated', description));
    return await sendError(reply, 400, granted.refused);
  } catch (thrown) {
    const { status } = PortcullisError.from(thrown);
    count(thrown instanceof OAuthRefusal || status < 429 ? 'refused' : status === 429 ? 'limited' : 'unavailable');
    throw thrown;
  }
}

/** RFC 7009, section 2.2: what is no credential of a login is revoked already. */
async function revoke(options: LoginOptions, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  takeTurn(options, request, 'oauth_token', tokenRequestsPerMinute);
  await options.logins.logOut(requireParameter(request, 'token'), request.id);
  return reply.code(200).send();
}

function byDeviceCode({ devices }: LoginOptions, request: FastifyRequest): Promise<Granted> {
  requireClient(request);
  return devices.redeem(requireParameter(request, 'device_code'), request.id);
}

async function byRefresh(options: LoginOptions, request: FastifyRequest): Promise<Granted> {
  requireClient(request);
  const credential = requireParameter(request, 'refresh_token');
  // Each makes a key, which stays as a row. Whoever only knows the id of a login takes nothing of its rate.
  const takeRefresh = (loginId: string) => takeOne(options, `login:${loginId}`, 'login_refresh', refreshesPerMinute);
  return options.logins.refresh(credential, scopeParameter(request), request.id, takeRefresh);
}

async function byExchange(options: LoginOptions, request: FastifyRequest): Promise<Granted> {
  const token = requireParameter(request, 'subject_token');
  if (!subjectTokenTypes.has(requireParameter(request, 'subject_token_type'))) {
    throw new OAuthRefusal('invalid_request', 'subject_token_type must be id_token, access_token or jwt.');
  }
  if ((parameter(request, 'requested_token_type') ?? accessTokenType) !== accessTokenType) {
    throw new OAuthRefusal('invalid_request', 'Only an access_token can be requested.');
  }
  if (parameter(request, 'actor_token') !== null) {
    throw new OAuthRefusal('invalid_request', 'Nobody acts for somebody else here: leave actor_token out.');
  }
  if (parameter(request, 'audience') !== null || parameter(request, 'resource') !== null) {
    throw new OAuthRefusal('invalid_target', 'The key is for this server alone: leave audience and resource out.');
  }
  options.assertFresh();
  const { clientAddress, certificate, access } = request;
  return options.exchange.exchange(token, scopeParameter(request), { clientAddress, certificate, access });
}

function tokenAnswer({ key, text, refreshCredential }: Issued, isExchanged: boolean): Record<string, unknown> {
  return {
    access_token: text,
    token_type: 'Bearer',
    expires_in: Math.max(0, Math.floor(((key.expiresAt ?? 0) - Date.now()) / 1000)),
    scope: key.scopes.join(' '),
    ...(refreshCredential !== null && { refresh_token: refreshCredential }),
    ...(isExchanged && { issued_token_type: accessTokenType }),
  };
}

/** @throws OAuthRefusal */
function requireClient(request: FastifyRequest): void {
  if (requireParameter(request, 'client_id') === clientId) return;
  throw new OAuthRefusal('invalid_client', `The only client of this server is ${clientId}.`);
}
