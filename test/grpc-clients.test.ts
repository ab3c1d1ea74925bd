import { join, resolve } from 'node:path';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { type GrpcObject, Metadata, type ServiceError, credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema } from '../server/src/gen/google/rpc/error_details_pb.ts';
import { AgentService } from '../server/src/gen/portcullis/v1/agent_pb.ts';
import { bearer } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { run } from './support/program.ts';

// Stock clients, each with a read, a write and a refusal.

const repository = resolve(import.meta.dirname, '..');
let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate?.stop());

describe('buf curl, with the schema alone', () => {
  const curl = (method: string, body: object, key = gate.adminKey) =>
    run(
      [
        'curl',
        '--schema=proto',
        '--protocol=grpc',
        '--http2-prior-knowledge',
        `--header=authorization: Bearer ${key}`,
        `--data=${JSON.stringify(body)}`,
        `${gate.grpcUrl}/portcullis.v1.${method}`,
      ],
      { cwd: repository, command: [join(repository, 'node_modules/.bin/buf')], env: { HOME: gate.folder } },
    );

  it('reads and writes', async () => {
    const made = await curl('AgentService/CreateAgent', { name: 'made by buf' });
    expect(made.code, made.output).toBe(0);
    const { agent } = JSON.parse(made.stdout) as { agent: { id: string; name: string } };
    const read = await curl('AgentService/GetAgent', { agentId: agent.id });
    expect(JSON.parse(read.stdout)).toMatchObject({ agent: { id: agent.id, name: 'made by buf' } });
  });

  it('is told what is wrong', async () => {
    const refused = await curl('AgentService/CreateAgent', {});
    // It ends with eight times the gRPC status.
    expect(refused.code).toBe(Code.InvalidArgument * 8);
    const { code, message, details } = JSON.parse(refused.stderr) as {
      code: string;
      message: string;
      details: { type: string }[];
    };
    expect(code).toBe('invalid_argument');
    expect(message).toBe('name must not be empty.');
    expect(details.map(({ type }) => type)).toEqual([
      'portcullis.v1.ErrorInfo',
      'google.rpc.ErrorInfo',
      'google.rpc.RequestInfo',
      'google.rpc.BadRequest',
    ]);
    expect((await curl('AgentService/ListAgents', {}, 'nobody')).code).toBe(Code.Unauthenticated * 8);
  });
});

describe('grpc-js, with what proto-loader makes of the schema', () => {
  type Call = (
    request: object,
    metadata: Metadata,
    answered: (error: ServiceError | null, value: unknown) => void,
  ) => void;

  async function clientOf(): Promise<(method: string, request: object) => Promise<unknown>> {
    const definition = await load('portcullis/v1/agent.proto', { includeDirs: [join(repository, 'proto')] });
    const { portcullis } = loadPackageDefinition(definition) as unknown as {
      portcullis: { v1: GrpcObject & { AgentService: new (...args: unknown[]) => Record<string, Call> } };
    };
    const address = new URL(gate.grpcUrl).host;
    const client = new portcullis.v1.AgentService(address, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${gate.adminKey}`);
    return (method, request) =>
      new Promise((resolve, reject) => {
        client[method]?.call(client, request, metadata, (error, value) => (error ? reject(error) : resolve(value)));
      });
  }

  it('reads, writes and is refused with details', async () => {
    const call = await clientOf();
    const { agent } = (await call('CreateAgent', { name: 'made by grpc-js' })) as { agent: { id: string } };
    expect(await call('GetAgent', { agentId: agent.id })).toMatchObject({ agent: { name: 'made by grpc-js' } });
    const refusal = (await call('GetAgent', { agentId: 'agt_none' }).catch((error: unknown) => error)) as ServiceError;
    expect(refusal).toMatchObject({ code: Code.NotFound, details: 'There is no agent agt_none in this project.' });
    const [details] = refusal.metadata.get('grpc-status-details-bin');
    expect(String(details)).toContain('google.rpc.ErrorInfo');
    expect(String(details)).toContain('NOT_FOUND');
  });
});

describe.each<[string, () => Transport]>([
  ['gRPC', () => createGrpcTransport({ baseUrl: gate.grpcUrl })],
  ['gRPC-Web', () => createGrpcWebTransport({ baseUrl: gate.url, httpVersion: '1.1' })],
  ['gRPC-Web over HTTP/2', () => createGrpcWebTransport({ baseUrl: gate.grpcUrl, httpVersion: '2' })],
  ['Connect, JSON', () => createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1' })],
  ['Connect, binary', () => createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1', useBinaryFormat: true })],
  ['Connect over HTTP/2', () => createConnectTransport({ baseUrl: gate.grpcUrl, httpVersion: '2' })],
])('Connect for Node with %s', (name, transport) => {
  it('reads, writes and is refused with details', async () => {
    const client = createClient(AgentService, transport());
    const options = { headers: bearer(gate.adminKey) };
    const { agent } = await client.createAgent({ name: `made with ${name}` }, options);
    expect((await client.getAgent({ agentId: agent!.id }, options)).agent).toEqual(agent);
    const thrown = await client
      .listAgents({ pageSize: 501, projectId: 'a project' }, options)
      .catch((error: unknown) => error);
    const refusal = ConnectError.from(thrown);
    expect(refusal.code).toBe(Code.InvalidArgument);
    expect(refusal.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: 'INVALID_ARGUMENT', domain: 'portcullis', metadata: { param: 'page_size' } },
    ]);
    expect(refusal.findDetails(BadRequestSchema)).toMatchObject([
      { fieldViolations: [{ field: 'page_size' }, { field: 'project_id' }] },
    ]);
    expect(refusal.findDetails(RequestInfoSchema)).toMatchObject([{ requestId: expect.stringMatching(/^req_/) }]);
  });
});
