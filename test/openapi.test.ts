import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bearer, send } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

interface Answers {
  readonly content: Readonly<Record<string, { readonly schema?: { readonly $ref: string } }>>;
}
interface Operation {
  readonly security: readonly object[];
  readonly requestBody: Answers;
  readonly responses: Readonly<Record<string, Answers>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const text = readFileSync('docs/reference/openapi.json', 'utf8');
const document = JSON.parse(text) as Document;

// Pages are for people; a preflight is a browser's own.
const pages = /^(GET|POST) \/($|style|icon|leaderboard|sign-|account|device)|^OPTIONS /;

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate({ env: { LOG_LEVEL: 'debug' } });
});
afterAll(() => gate?.stop());

function checker(): (schema: string, value: unknown) => string {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  formats.default(ajv);
  ajv.addSchema(document, 'document');
  return (schema, value) => {
    const check = ajv.getSchema(`document${schema}`);
    if (!check) throw new Error(`the document has no ${schema}`);
    return check(value) === true ? '' : ajv.errorsText(check.errors);
  };
}

it('the document is OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate(JSON.parse(text) as Record<string, unknown>)).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

it('the document has every route that a gate serves to programs, and no other', async () => {
  const lines = (await gate.settledLog()).split('\n').filter((line) => line.includes('what a listener serves'));
  const served = lines.map((line) => JSON.parse(line) as { routes: string[]; address: { port: number } });
  const http = served.find(({ address }) => address.port === Number(new URL(gate.url).port));
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const forPrograms = http?.routes.filter((route) => !route.startsWith('HEAD ') && !pages.test(route));
  expect(new Set(documented)).toEqual(new Set(forPrograms));
});

it('requests, answers and refusals of the control API are as it says', async () => {
  const check = checker();
  const call = async (method: string, body: object, key = gate.adminKey) => {
    const path = `/portcullis.v1.${method}`;
    const headers = { ...bearer(key), 'content-type': 'application/json' };
    const answer = await send(gate.url, { method: 'POST', path, headers, body: JSON.stringify(body) });
    const { requestBody, responses } = document.paths[path]!.post!;
    const schemaOf = ({ content }: Answers) => content['application/json']!.schema!.$ref;
    const answered = check(schemaOf(responses[answer.status] ?? responses.default!), answer.json);
    return { status: answer.status, asked: check(schemaOf(requestBody), body) === '', answered };
  };
  await gate.agent('builder');
  const fine = { status: 200, asked: true, answered: '' };
  expect(await call('AgentService/ListAgents', {})).toEqual(fine);
  expect(await call('AgentService/ListKeys', {})).toEqual(fine);
  expect(await call('AgentService/CreateAgent', { name: 'second' })).toEqual(fine);
  const budget = { name: 'a day', unit: 'BUDGET_UNIT_USD', window: 'BUDGET_WINDOW_DAY', limitAmount: '5000000000' };
  expect(await call('BudgetService/CreateBudget', budget)).toEqual(fine);
  expect(await call('BudgetService/ListBudgets', {})).toEqual(fine);
  expect(await call('PolicyService/GetPolicy', {})).toEqual(fine);
  expect(await call('ProjectService/ListProjects', {})).toEqual(fine);
  expect(await call('AgentService/CreateAgent', { nam: 'x' })).toEqual({ status: 400, asked: false, answered: '' });
  expect(await call('AgentService/ListAgents', {}, 'nobody')).toEqual({ status: 401, asked: true, answered: '' });
});

it('what it says needs no credential answers without one, and nothing else does', async () => {
  const wrong: string[] = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { security }] of Object.entries(methods)) {
      const type = path.startsWith('/oauth') ? 'application/x-www-form-urlencoded' : 'application/json';
      const headers = { 'content-type': type };
      const body = method === 'post' ? { body: '{}' } : {};
      const { status } = await send(gate.url, { method: method.toUpperCase(), path, headers, ...body });
      // 415: a stream of Connect has a type of its own. 429: too many strangers came from here.
      const isClosed = [401, 403, 415, 429].includes(status);
      if (isClosed !== security.length > 0) wrong.push(`${method} ${path} ${status}`);
    }
  }
  expect(wrong).toEqual([]);
});
