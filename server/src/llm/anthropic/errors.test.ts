import Anthropic from '@anthropic-ai/sdk';
import { Stream } from '@anthropic-ai/sdk/core/streaming';
import type { ErrorType } from '@anthropic-ai/sdk/resources/shared';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, PortcullisError, errorCodes } from '../../base/errors.ts';
import { errorBody, streamErrorEvent } from './errors.ts';

/** The SDK's own list, and the one documented type that it lacks. */
const legalTypes: readonly (ErrorType | 'request_too_large')[] = [
  'invalid_request_error',
  'authentication_error',
  'billing_error',
  'permission_error',
  'not_found_error',
  'conflict_error',
  'request_too_large',
  'rate_limit_error',
  'timeout_error',
  'api_error',
  'overloaded_error',
];
const codes = Object.keys(errorCodes) as ErrorCode[];

/** What the SDK throws when the gate answers with `error`. */
async function thrownFor(error: PortcullisError): Promise<unknown> {
  const respond = () =>
    new Response(errorBody(error, 'req_1'), { status: error.status, headers: { 'request-id': 'req_1' } });
  const client = new Anthropic({ apiKey: 'x', maxRetries: 0, fetch: async () => respond() });
  const call = client.messages.create({ model: 'm', max_tokens: 1, messages: [] });
  return call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
}

describe('a refusal to an Anthropic client', () => {
  it.each(codes)('for %s has a legal type', (code) => {
    const body = JSON.parse(errorBody(new PortcullisError(code, 'No.'), 'req_1')) as { error: { type: string } };
    expect(body).toMatchObject({ type: 'error', error: { message: 'No.' }, request_id: 'req_1' });
    expect(legalTypes).toContain(body.error.type);
  });

  it.each([
    ['invalid_argument', Anthropic.BadRequestError],
    ['unauthenticated', Anthropic.AuthenticationError],
    ['insufficient_scope', Anthropic.PermissionDeniedError],
    ['not_found', Anthropic.NotFoundError],
    ['conflict', Anthropic.ConflictError],
    ['rate_limited', Anthropic.RateLimitError],
    ['budget_exceeded', Anthropic.RateLimitError],
    ['internal', Anthropic.InternalServerError],
    ['killed', Anthropic.InternalServerError],
  ] as const)('for %s is thrown as its class', async (code, type) => {
    expect(await thrownFor(new PortcullisError(code, 'No.'))).toBeInstanceOf(type);
  });

  it('tells the program what refused, and keeps to itself what is internal', async () => {
    const error = new PortcullisError('budget_exceeded', 'The budget "team" is spent.', {
      rule: 'budget:bud_1',
      unit: 'usd',
      limit: '10.00',
      remaining: '0.10',
      resetsAt: '2026-10-01T00:00:00Z',
      retryAfterS: 59.2,
      internal: 'secret',
    });
    expect(await thrownFor(error)).toMatchObject({
      status: 429,
      type: 'rate_limit_error',
      requestID: 'req_1',
      apiMessage: 'The budget "team" is spent.',
      errorCode: 'budget_exceeded',
      details: { rule: 'budget:bud_1', limit: '10.00', resets_at: '2026-10-01T00:00:00Z', retry_after: 60 },
    });
    expect(errorBody(error, 'req_1')).not.toContain('secret');
  });

  it('in a stream is thrown by the SDK', async () => {
    const text = streamErrorEvent(new PortcullisError('killed', 'Stopped\nby an operator.'), 'req_1');
    const events = Stream.fromSSEResponse(new Response(text), new AbortController());
    const thrown = await events[Symbol.asyncIterator]()
      .next()
      .catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(Anthropic.APIError);
    expect(thrown).toMatchObject({ type: 'api_error', errorCode: 'killed', apiMessage: 'Stopped\nby an operator.' });
  });

  it('never looks overloaded when trying again cannot help', () => {
    for (const code of codes) {
      const error = new PortcullisError(code, 'No.', errorCodes[code].final ? {} : { final: true });
      expect(errorBody(error, 'req_1')).not.toContain('overloaded_error');
    }
  });
});
