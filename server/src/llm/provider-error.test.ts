import { describe, expect, test } from 'vitest';
import type { Dialect } from './dialect.ts';
import { errorOfStatus, providerError, translateError } from './provider-error.ts';

function translate(from: Dialect, to: Dialect, status: number, body: unknown) {
  const translated = translateError({ from, to, status, body: typeof body === 'string' ? body : JSON.stringify(body) });
  return { status: translated.status, body: JSON.parse(translated.body) };
}

describe("Google's error, in a list or by itself", () => {
  const error = { code: 403, message: 'Not for you.', status: 'PERMISSION_DENIED', details: [] };
  test.each([[[{ error }]], [{ error }]])('is told by its class, in its own words: %j', (body) => {
    expect(translate('chat', 'chat', 403, body).body.error).toMatchObject({
      message: 'Not for you.',
      type: 'permission_error',
    });
    expect(translate('chat', 'anthropic', 403, body).body.error).toEqual({
      message: 'Not for you.',
      type: 'permission_error',
    });
  });

  test.each([[[]], [[[error]]], [[5]]])('is none in %j', (body) => {
    expect(translate('chat', 'anthropic', 400, body).body.error.message).toBe('The provider answered with status 400.');
  });
});

describe("a chat provider's error", () => {
  test.each([
    [400, { message: 'Bad.', type: 'invalid_request_error', param: 'x', code: null }, 'invalid_request_error'],
    [401, { message: 'Key.', code: 'invalid_api_key' }, 'authentication_error'],
    [403, { message: 'No.' }, 'permission_error'],
    [404, { message: 'Gone.', code: 'model_not_found' }, 'not_found_error'],
    [413, { message: 'Big.' }, 'request_too_large'],
    [422, { message: 'What?' }, 'invalid_request_error'],
    [429, { message: 'Slow.', code: 'rate_limit_exceeded' }, 'rate_limit_error'],
    [429, { message: 'Pay.', type: 'insufficient_quota', code: 'insufficient_quota' }, 'billing_error'],
    [500, { message: 'Oops.', type: 'server_error' }, 'api_error'],
    [503, { message: 'Busy.' }, 'overloaded_error'],
    [504, { message: 'Late.' }, 'timeout_error'],
  ])(
    'of status %i and body %j is told to an Anthropic client as its class, in its own words',
    (status, error, type) => {
      expect(translate('chat', 'anthropic', status, { error })).toEqual({
        status,
        body: { type: 'error', error: { type, message: error.message } },
      });
    },
  );

  test.each([
    { error: { message: "This model's maximum context length is 8192 tokens.", code: 'context_length_exceeded' } },
    {
      error: {
        message: 'the request exceeds the available context size',
        type: 'exceed_context_size_error',
        code: 400,
      },
    },
    {
      object: 'error',
      message: "This model's maximum context length is 4096 tokens.",
      type: 'BadRequestError',
      code: 400,
    },
  ])('about too long a prompt begins as Claude Code expects it: %j', (body) => {
    expect(translate('chat', 'anthropic', 400, body).body.error).toMatchObject({
      type: 'invalid_request_error',
      message: expect.stringMatching(/^prompt is too long: .*context/),
    });
  });

  test.each(['<html>502 nginx at 10.0.0.5</html>', '', '{"detail":[{"loc":["body"]}]}', 'null'])(
    'without words that are meant for clients is told by its status alone: %s',
    (body) => {
      expect(translate('chat', 'anthropic', 502, body).body.error).toEqual({
        type: 'api_error',
        message: 'The provider answered with status 502.',
      });
    },
  );

  test.each([
    [401, 'invalid_request_error', 'authentication_error'],
    [404, 'invalid_request_error', 'not_found_error'],
    [413, 'invalid_request_error', 'request_too_large'],
    [503, 'server_error', 'overloaded_error'],
    [400, 'invalid_request_error', 'invalid_request_error'],
    [500, 'server_error', 'api_error'],
  ])('of status %i is of the class that it says where the type %s says less', (status, type, told) => {
    const body = { error: { message: 'Hm.', type, code: null } };
    expect(translate('chat', 'anthropic', status, body).body.error.type).toBe(told);
  });

  test('as bare text is told as it is', () => {
    expect(translate('chat', 'anthropic', 404, { error: 'model "x" not found' }).body.error.message).toBe(
      'model "x" not found',
    );
  });
});

describe("Anthropic's error", () => {
  test.each([
    [400, 'invalid_request_error', 'invalid_request_error', null],
    [401, 'authentication_error', 'authentication_error', null],
    [402, 'billing_error', 'insufficient_quota', 'insufficient_quota'],
    [429, 'rate_limit_error', 'rate_limit_error', 'rate_limit_exceeded'],
    [500, 'api_error', 'server_error', null],
  ])(
    'of status %i and type %s is told to a chat client as its class, in its own words',
    (status, type, chatType, code) => {
      expect(translate('anthropic', 'chat', status, { type: 'error', error: { type, message: 'Hm.' } })).toEqual({
        status,
        body: { error: { message: 'Hm.', type: chatType, code, param: null } },
      });
    },
  );

  test('of overload has a status that everybody knows', () => {
    const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
    expect(translate('anthropic', 'chat', 529, overloaded)).toMatchObject({
      status: 503,
      body: { error: { code: 'overloaded' } },
    });
  });

  test('about too long a prompt has the code by which chat clients know it', () => {
    const long = {
      type: 'error',
      error: { type: 'invalid_request_error', message: 'prompt is too long: 9 tokens > 8 maximum' },
    };
    expect(translate('anthropic', 'chat', 400, long).body.error).toMatchObject({
      code: 'context_length_exceeded',
      message: 'prompt is too long: 9 tokens > 8 maximum',
    });
  });
});

test('an error of a status alone has the shape of its dialect', () => {
  expect(JSON.parse(errorOfStatus('anthropic', 429, 'Slow.').body).error.type).toBe('rate_limit_error');
  expect(JSON.parse(errorOfStatus('chat', 404, 'Gone.').body).error.type).toBe('not_found_error');
});

describe('an error of Responses', () => {
  test.each([
    [{ type: 'error', code: 'rate_limit_exceeded', message: 'Slow.', param: null }, 'rate_limited'],
    [
      { type: 'error', error: { type: 'invalid_request_error', code: 'invalid_prompt', message: 'Slow.' } },
      'invalid_argument',
    ],
    [
      { type: 'response.failed', response: { error: { code: 'server_is_overloaded', message: 'Slow.' } } },
      'unavailable',
    ],
  ])('in a stream is read where the vendor puts it: %j', (event, code) => {
    expect(providerError('responses', event)).toMatchObject({ code, message: 'Slow.' });
  });

  test('about too long a prompt begins as Claude Code expects it, and has the code that Codex expects', () => {
    const error = { code: 'context_length_exceeded', message: 'Too many tokens.' };
    const expected = { ...error, message: 'prompt is too long: Too many tokens.' };
    expect(providerError('responses', { type: 'response.failed', response: { error } })).toMatchObject(expected);
  });

  test('has the shape that it has in chat, and both are told from each other by nothing', () => {
    const error = { message: 'Too long: the context window.', type: 'invalid_request_error', param: null, code: null };
    const expected = { ...error, code: 'context_length_exceeded' };
    expect(translate('chat', 'responses', 400, { error })).toEqual({ status: 400, body: { error: expected } });
    expect(translate('responses', 'chat', 400, { error })).toEqual({ status: 400, body: { error: expected } });
    const overflow = { type: 'error', error: { type: 'invalid_request_error', message: 'prompt is too long: 9 > 8' } };
    expect(translate('anthropic', 'responses', 400, overflow).body.error).toMatchObject({
      code: 'context_length_exceeded',
    });
    expect(translate('responses', 'anthropic', 400, { error }).body.error.message).toMatch(/^prompt is too long: /);
  });
});
