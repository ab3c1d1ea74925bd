import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
  create,
  getOption,
  toBinary,
} from '@bufbuild/protobuf';
import { FieldDescriptorProto_Type } from '@bufbuild/protobuf/wkt';
import {
  type ConnectRouter,
  type HandlerContext,
  createContextValues,
  createHandlerContext,
} from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ControlApi, startControlApi } from '../../../test/support/control-api.ts';
import { newAccessRecord } from '../base/access-record.ts';
import { PortcullisError } from '../base/errors.ts';
import { CreateKeyResponseSchema } from '../gen/portcullis/v1/agent_pb.ts';
import { Access, access } from '../gen/portcullis/v1/options_pb.ts';
import type { Principal } from '../identity/model.ts';
import { accessRecordKey, principalKey } from './context.ts';
import { services } from './methods.ts';
import { withoutSecrets } from './redaction.ts';
import { registerServices } from './routes.ts';

type Handle = (request: Message, context: HandlerContext) => Promise<Message>;

let api: ControlApi;
let root: Principal;
/** As they are registered, behind the interceptors that check the request. */
const handlers = new Map<DescMethod, Handle>();

beforeAll(async () => {
  api = await startControlApi();
  root = {
    kind: 'operator',
    id: 'root',
    name: 'root',
    projectId: await api.newProject(),
    scopes: new Set(['admin']),
    method: 'static_key',
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
  const router = {
    service: (service: DescService, implementation: Record<string, Handle>) => {
      for (const method of service.methods) handlers.set(method, implementation[method.localName]!);
    },
  };
  registerServices(router as unknown as ConnectRouter, api.deps);
});
afterAll(() => api.stop());

const writes = services.flatMap(({ methods }) =>
  methods.filter((method) => getOption(method, access) === Access.WRITE),
);

/** Calls a method under a key. @returns its answer or the code of its refusal, and whether that was a replay */
async function call(method: DescMethod, request: Message, key: string) {
  const context = createHandlerContext({
    service: method.parent,
    method,
    protocolName: 'connect',
    requestMethod: 'POST',
    url: 'http://gate',
    requestHeader: { 'idempotency-key': key },
    contextValues: createContextValues().set(principalKey, root).set(accessRecordKey, newAccessRecord('req_t')),
  });
  const outcome = await handlers.get(method)!(request, context).then(
    (answer) => Buffer.from(toBinary(method.output, create(method.output, answer))).toString('hex'),
    (error: unknown) => (error instanceof PortcullisError ? `${error.code}: ${error.message}` : error),
  );
  return { outcome, isReplay: context.responseHeader.get('idempotency-replayed') === 'true' };
}

/** A request that differs from the empty one in one text. */
function otherRequest({ input }: DescMethod): Message {
  const field = input.fields.find(
    ({ fieldKind, proto }) => fieldKind === 'scalar' && proto.type === FieldDescriptorProto_Type.STRING,
  );
  if (!field) throw new Error(`${input.name} has no text to change`);
  const value = field.oneof
    ? { [field.oneof.localName]: { case: field.localName, value: 'other' } }
    : { [field.localName]: 'other' };
  return create(input, value);
}

/** Those of a message and of all that lies in it. */
function fieldsIn(message: DescMessage, seen = new Set<DescMessage>()): DescField[] {
  if (seen.has(message)) return [];
  seen.add(message);
  return message.fields.flatMap((field) => [field, ...(field.message ? fieldsIn(field.message, seen) : [])]);
}

test('there are writes', () => {
  expect(writes.length).toBeGreaterThan(15);
});

// The handlers are met with what no validation would let through: nothing of it may be taken for the gate's own fault.
test.each(writes.map((method) => [`${method.parent.name}.${method.name}`, method] as const))(
  '%s obeys its key: the same request is answered again, another one is a mismatch',
  async (name, method) => {
    const request = create(method.input);
    const first = await call(method, request, name);
    expect(first).toEqual({ outcome: expect.any(String), isReplay: false });
    expect(await call(method, request, name)).toEqual({ ...first, isReplay: true });
    const other = await call(method, otherRequest(method), name);
    expect(other).toEqual({ outcome: expect.stringMatching(/^idempotency_mismatch/), isReplay: false });
  },
);

describe('what is kept of an answer', () => {
  test('has no secret', () => {
    const answer = create(CreateKeyResponseSchema, { key: { id: 'key_1', name: 'a' }, secret: 'pcl_canary' });
    const kept = withoutSecrets(CreateKeyResponseSchema, answer);
    expect(kept).toEqual(create(CreateKeyResponseSchema, { key: { id: 'key_1', name: 'a' } }));
    expect(answer.secret).toBe('pcl_canary');
  });

  test.each(writes.map((method) => [method.name, method] as const))(
    'of %s lets through no field that is named like a secret',
    (_name, { output }) => {
      const texts = fieldsIn(output).filter(({ proto }) => proto.type === FieldDescriptorProto_Type.STRING);
      const shown = texts.filter(({ proto }) => proto.options?.debugRedact !== true).map(({ name }) => name);
      expect(shown.filter((name) => /secret|token|password|credential/.test(name))).toEqual([]);
    },
  );
});
