import OpenAI from 'openai';
import { Stream } from 'openai/core/streaming';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, PortcullisError, errorCodes } from '../../base/errors.ts';
import { errorBody, streamErrorEvent } from './errors.ts';

const codes = Object.keys(errorCodes) as ErrorCode[];

/** What the SDK throws when the gate answers with `error`. */
async function thrownFor(error: PortcullisError): Promise<unknown> {
  const respond = () =>
    new Response(errorBody(error, 'req_1'), { status: error.status, headers: { 'x-request-id': 'req_1' } });
  const client = new OpenAI({ apiKey: 'x', maxRetries: 0, fetch: async () => respond() });
  return client.chat.completions.create({ model: 'm', messages: [] }).then(
    () => null,
    (thrown: unknown) => thrown,
  );
}

describe('a refusal to an OpenAI client', () => {
  it.each(codes)('for %s has the shape that SDKs read', (code) => {
    const body: unknown = JSON.parse(errorBody(new PortcullisError(code, 'No.'), 'req_1'));
    expect(body).toEqual({
      error: {
        message: 'No.',
        type: expect.stringMatching(/^\w+$/),
        param: null,
        code,
        request_id: 'req_1',
        details: {},
      },
      request_id: 'req_1',
    });
  });

  it.each([
    ['invalid_argument', OpenAI.BadRequestError],
    ['unauthenticated', OpenAI.AuthenticationError],
    ['policy_denied', OpenAI.PermissionDeniedError],
    ['not_found', OpenAI.NotFoundError],
    ['conflict', OpenAI.ConflictError],
    ['rate_limited', OpenAI.RateLimitError],
    ['budget_exceeded', OpenAI.RateLimitError],
    ['deadline_exceeded', OpenAI.InternalServerError],
  ] as const)('for %s is thrown as its class', async (code, type) => {
    expect(await thrownFor(new PortcullisError(code, 'No.'))).toBeInstanceOf(type);
  });

  it('tells the program what refused, and keeps to itself what is internal', async () => {
    const budget = new PortcullisError('budget_exceeded', 'The budget "team" is spent.', {
      rule: 'budget:bud_1',
      limit: '10.00',
      resetsAt: '2026-10-01T00:00:00Z',
      retryAfterS: 59.2,
      internal: 'secret',
    });
    expect(await thrownFor(budget)).toMatchObject({
      status: 429,
      type: 'insufficient_quota',
      code: 'budget_exceeded',
      requestID: 'req_1',
      error: { details: { rule: 'budget:bud_1', limit: '10.00', resets_at: '2026-10-01T00:00:00Z', retry_after: 60 } },
    });
    expect(errorBody(budget, 'req_1')).not.toContain('secret');
    const field = new PortcullisError('invalid_argument', 'No.', { param: 'n' });
    expect(await thrownFor(field)).toMatchObject({ param: 'n', code: 'invalid_argument' });
  });

  it('by a budget of which some comes back soon is not taken for final', async () => {
    const busy = new PortcullisError('budget_exceeded', 'Try again soon.', { retryAfterS: 1, final: false });
    expect(await thrownFor(busy)).toMatchObject({ type: 'rate_limit_error', code: 'budget_exceeded' });
  });

  it('in a stream is thrown by the SDK', async () => {
    const text = streamErrorEvent(new PortcullisError('killed', 'Stopped\nby an operator.'), 'req_1');
    const events = Stream.fromSSEResponse(new Response(text), new AbortController());
    const thrown = await events[Symbol.asyncIterator]()
      .next()
      .catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(OpenAI.APIError);
    expect(thrown).toMatchObject({ code: 'killed', type: 'server_error', message: 'Stopped\nby an operator.' });
  });
});
