import { expect, test } from 'vitest';
import { type ErrorCode, PortcullisError, errorCodes } from '../../base/errors.ts';
import { readResponsesStream } from '../testing/responses-grammar.ts';
import { eventsIn } from '../testing/sse-text.ts';
import { errorBody, streamErrorEvent } from './errors.ts';

const error = new PortcullisError('killed', 'Stopped.', { rule: 'r' });
const sse = (...events: object[]) =>
  Buffer.from(events.map((event) => `event: x\ndata: ${JSON.stringify(event)}\n\n`).join(''));

test('a refusal has the shape of all endpoints of OpenAI', () => {
  expect(JSON.parse(errorBody(error, 'req_1'))).toEqual({
    error: {
      message: 'Stopped.',
      type: 'server_error',
      param: null,
      code: 'killed',
      request_id: 'req_1',
      details: { rule: 'r' },
    },
    request_id: 'req_1',
  });
});

test('an error before the first event of a stream is a response that failed at once', () => {
  const event = streamErrorEvent(error, 'req_1', null);
  expect(readResponsesStream(event)).toMatchObject({ ending: 'failed', blocks: [] });
  expect(JSON.parse(eventsIn(event)[0]?.data ?? '')).toMatchObject({
    sequence_number: 0,
    response: { id: 'resp_req_1', error: { code: 'server_error', message: 'Stopped.' } },
  });
});

test('an error in mid-stream goes on from what the client has', () => {
  const first = sse({ type: 'response.created', sequence_number: 0, response: { id: 'resp_7', object: 'response' } });
  const last = sse({ sequence_number: 8 }, { delta: '"sequence_number": 99', sequence_number: 9 });
  const event = streamErrorEvent(error, 'req_1', { first, last });
  expect(JSON.parse(eventsIn(event)[0]?.data ?? '')).toMatchObject({ sequence_number: 10, response: { id: 'resp_7' } });
});

test.each([
  [true, 'insufficient_quota'],
  [false, 'rate_limit_exceeded'],
])('a budget ends the turn of an agent that knows a quota, if it is spent (%s)', (final, code) => {
  const event = streamErrorEvent(new PortcullisError('budget_exceeded', 'x', { final }), 'r', null);
  expect(JSON.parse(eventsIn(event)[0]?.data ?? '')).toMatchObject({ response: { error: { code } } });
});

test.each(Object.keys(errorCodes) as ErrorCode[])('every code has one of the codes that clients know: %s', (code) => {
  const event = streamErrorEvent(new PortcullisError(code, 'x'), 'r', null);
  const { response } = JSON.parse(eventsIn(event)[0]?.data ?? '') as { response: { error: { code: string } } };
  expect([
    'server_error',
    'invalid_prompt',
    'context_length_exceeded',
    'rate_limit_exceeded',
    'insufficient_quota',
  ]).toContain(response.error.code);
});
