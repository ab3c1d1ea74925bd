import { type DescField, type DescMessage, ScalarType, create, getOption, hasOption } from '@bufbuild/protobuf';
import type { UnaryRequest } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { nameCharsMax, pageSizeMax, violationsToldMax } from '../base/limits.ts';
import { field as fieldRules } from '../gen/buf/validate/validate_pb.ts';
import { AgentService, CreateKeyRequestSchema } from '../gen/portcullis/v1/agent_pb.ts';
import { BudgetService } from '../gen/portcullis/v1/budget_pb.ts';
import { services } from './methods.ts';
import { Validation } from './validation.ts';

/** A request's fields, and those of our own messages in it. */
function fieldsOf(message: DescMessage, seen = new Set<DescMessage>()): DescField[] {
  if (seen.has(message) || !message.typeName.startsWith('portcullis.')) return [];
  seen.add(message);
  return message.fields.flatMap((field) => [field, ...(field.message ? fieldsOf(field.message, seen) : [])]);
}

const requests = services.flatMap((service) => service.methods.map(({ input }) => input));

/** What a caller could make too large, or give a number that stands for nothing. */
function needsRule(field: DescField): boolean {
  const boundless = field.fieldKind === 'list' || field.fieldKind === 'map' || field.fieldKind === 'enum';
  return boundless || (field.fieldKind === 'scalar' && field.scalar !== ScalarType.BOOL);
}

/** Checked by code, once for each of many: `run/event-input.ts`. */
const checkedElsewhere: ReadonlySet<string> = new Set(['RunEventInput']);

test('every field of a request that has bounds says so in the schema', () => {
  const fields = new Set(requests.flatMap((request) => fieldsOf(request)));
  expect(fields.size).toBeGreaterThan(100);
  const asked = [...fields].filter((field) => needsRule(field) && !checkedElsewhere.has(field.parent.name));
  const bare = asked.filter((field) => !hasOption(field, fieldRules));
  expect(bare.map((field) => `${field.parent.name}.${field.name}`)).toEqual([]);
});

test('what the schema says of pages and names is what the limits say', () => {
  const named = (name: string) =>
    requests
      .flatMap(({ fields }) => fields.filter((field) => field.name === name))
      .map((field) => getOption(field, fieldRules));
  for (const { type } of named('page_size')) expect(type).toMatchObject({ value: { gte: 0, lte: pageSizeMax } });
  for (const { type } of named('name')) expect(type).toMatchObject({ value: { maxLen: BigInt(nameCharsMax) } });
});

describe('a request that breaks rules', () => {
  const validation = new Validation();
  const handle = validation.interceptor(() => Promise.reject(new Error('the handler was entered')));
  const ask = async (message: object): Promise<PortcullisError> =>
    handle({ stream: false, method: AgentService.method.createKey, message } as unknown as UnaryRequest).then(
      () => Promise.reject(new Error('it was let through')),
      (thrown: unknown) => PortcullisError.from(thrown),
    );

  test('is refused with each of them, in the spelling of the schema', async () => {
    const refusal = await ask({ ...create(CreateKeyRequestSchema, { models: ['claude-*', ''] }), kind: 77 });
    expect(refusal).toMatchObject({ code: 'invalid_argument', members: { param: 'name' } });
    expect(refusal.violations).toEqual([
      { field: 'name', description: 'name must not be empty.' },
      {
        field: 'kind',
        description: 'kind must be one of PRINCIPAL_KIND_OPERATOR, PRINCIPAL_KIND_AGENT, PRINCIPAL_KIND_SERVICE.',
      },
      { field: 'models[1]', description: 'models[1] must not be empty.' },
    ]);
    expect(refusal.message).toBe(refusal.violations.map(({ description }) => description).join(' '));
  });

  test('is told of a few of very many', async () => {
    const models = Array.from({ length: 50_000 }, () => '');
    const { violations } = await ask(create(CreateKeyRequestSchema, { name: 'x', kind: 3, models }));
    expect(violations).toHaveLength(violationsToldMax);
  });
});

test('rules that do not hold are found when they are compiled', () => {
  const validation = new Validation();
  for (const service of services) for (const { input } of service.methods) validation.compile(input);
  expect(() => validation.compile(BudgetService.method.createBudget.input)).not.toThrow();
});
