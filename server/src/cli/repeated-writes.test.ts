import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

type Answer = (response: ServerResponse) => unknown;

/** What stands at the address of a gate: each request gets the next answer, all further ones the last. */
async function serve(...answers: [Answer, ...Answer[]]) {
  const keys: IncomingMessage['headers'][string][] = [];
  const server = createServer((request, response) => {
    const answer = answers[Math.min(keys.length, answers.length - 1)];
    keys.push(request.headers['idempotency-key']);
    answer?.(response);
  }).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { keys, environment: { PORTCULLIS_URL: url, PORTCULLIS_KEY: 'pcl_canary' } };
}

const json = { 'content-type': 'application/json', 'x-request-id': 'req_1' };

const made: Answer = (response) => response.writeHead(200, json).end('{"agent":{"id":"agt_1","name":"bob"}}');
const cut: Answer = (response) => response.destroy();

function refused(status: number, code: string, info: { code: string; final?: boolean }): Answer {
  const value = Buffer.from(toBinary(ErrorInfoSchema, create(ErrorInfoSchema, info))).toString('base64');
  const details = [{ type: 'portcullis.v1.ErrorInfo', value: value.replace(/=+$/, '') }];
  return (response) => response.writeHead(status, json).end(JSON.stringify({ code, message: 'No.', details }));
}

const unavailable = refused(503, 'unavailable', { code: 'unavailable' });
const add = ['agents', 'create', 'bob', '--json'];
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

test('a write is repeated under one key until it is answered', async () => {
  const inProgress = refused(409, 'aborted', { code: 'in_progress' });
  const { keys, environment } = await serve(cut, unavailable, inProgress, made);
  expect(await runCommand(add, { environment })).toMatchObject({ code: 0, stderr: '' });
  expect(keys).toEqual(Array(4).fill(expect.stringMatching(uuid)));
  expect(new Set(keys).size).toBe(1);
});

test('each write has a key of its own', async () => {
  const { keys, environment } = await serve(made);
  await runCommand(add, { environment });
  await runCommand(add, { environment });
  expect(new Set(keys).size).toBe(2);
});

test('it is given up after four tries, with what the last of them heard', async () => {
  const { keys, environment } = await serve(unavailable);
  const { code, stderr } = await runCommand(add, { environment });
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'No. (unavailable, request req_1)\n' });
  expect(keys).toHaveLength(4);
});

test.each([
  ['a refusal', refused(400, 'invalid_argument', { code: 'invalid_argument', final: true })],
  ['a stop', refused(503, 'unavailable', { code: 'killed', final: true })],
])('%s is not repeated', async (_name, refusal) => {
  const { keys, environment } = await serve(refusal);
  expect((await runCommand(add, { environment })).code).toBe(1);
  expect(keys).toHaveLength(1);
});

test('a read has no key and is asked once', async () => {
  const { keys, environment } = await serve(unavailable);
  expect((await runCommand(['agents', 'list'], { environment })).code).toBe(1);
  expect(keys).toEqual([undefined]);
});
