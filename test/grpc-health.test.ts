import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { services } from '../server/src/api/methods.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../server/src/gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../server/src/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../server/src/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { queryAsOwner } from './support/database.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate?.stop());

const clientOf = (url: string) => createClient(Health, createGrpcTransport({ baseUrl: url }));

async function code(call: Promise<unknown>): Promise<Code> {
  const thrown: unknown = await call.then(
    () => null,
    (error: unknown) => error,
  );
  return ConnectError.from(thrown).code;
}

describe('grpc.health.v1', () => {
  it('says of the server and of each service that it serves, to whoever asks and by whatever name', async () => {
    const health = clientOf(gate.grpcUrl);
    for (const service of ['', Health.typeName, ...services.map(({ typeName }) => typeName)])
      expect((await health.check({ service })).status).toBe(Status.SERVING);
    expect(await code(health.check({ service: 'portcullis.v1.Nothing' }))).toBe(Code.NotFound);
  });

  it('says to a watcher that the gate is being stopped, and does not keep it from stopping', async () => {
    const stopped = await startGate({ env: { DRAIN_MS: '20000' } });
    try {
      const health = clientOf(stopped.grpcUrl);
      const heard: Status[] = [];
      let ended: Promise<number | null> | undefined;
      for await (const { status } of health.watch({ service: '' })) {
        heard.push(status);
        ended ??= stopped.end();
      }
      expect(heard).toEqual([Status.SERVING, Status.NOT_SERVING]);
      expect(await ended).toBe(0);
    } finally {
      await stopped.stop();
    }
  });

  it('says that it does not serve when readiness fails, and again when it is back', async () => {
    const health = clientOf(gate.grpcUrl);
    const heard: Status[] = [];
    const renameMigrations = (from: string, to: string) =>
      queryAsOwner(gate.database, `ALTER TABLE ${from} RENAME TO ${to}`);
    for await (const { status } of health.watch({ service: 'portcullis.v1.RunService' })) {
      heard.push(status);
      if (heard.length === 1) await renameMigrations('schema_migrations', 'elsewhere');
      if (heard.length === 2) await renameMigrations('elsewhere', 'schema_migrations');
      if (heard.length === 3) break;
    }
    expect(heard).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
  });
});

describe('reflection', () => {
  it('is not there unless it is asked for', async () => {
    const transport = createGrpcTransport({ baseUrl: gate.grpcUrl });
    const asked = (async function* () {
      yield { messageRequest: { case: 'listServices', value: '' } } as const;
    })();
    const listing = (async () => {
      for await (const _ of createClient(ServerReflection, transport).serverReflectionInfo(asked));
    })();
    expect(await code(listing)).toBe(Code.Unimplemented);
  });

  it('shows our services and what their files import, under both of its names, and nothing else', async () => {
    const open = await startGate({ env: { ENABLE_REFLECTION: 'true' } });
    try {
      expect(open.output).toContain('gRPC reflection is on');
      const transport = createGrpcTransport({ baseUrl: open.grpcUrl });
      for (const service of [ServerReflection, ServerReflectionAlpha] as (typeof ServerReflection)[]) {
        const asked = (async function* () {
          yield { messageRequest: { case: 'listServices', value: '' } } as const;
          yield {
            messageRequest: { case: 'fileContainingSymbol', value: 'portcullis.v1.RunService.StartRun' },
          } as const;
          yield { messageRequest: { case: 'fileByFilename', value: 'portcullis/v1/run.proto' } } as const;
          yield {
            messageRequest: {
              case: 'fileContainingExtension',
              value: { containingType: 'google.protobuf.MethodOptions', extensionNumber: 50001 },
            },
          } as const;
          yield {
            messageRequest: { case: 'allExtensionNumbersOfType', value: 'google.protobuf.MethodOptions' },
          } as const;
          yield { messageRequest: { case: 'fileContainingSymbol', value: 'grpc.health.v1.Health' } } as const;
          yield { messageRequest: { case: undefined } } as const;
        })();
        const answers = [];
        for await (const { messageResponse } of createClient(service, transport).serverReflectionInfo(asked))
          answers.push(messageResponse);
        const [list, symbol, file, extension, numbers, none, nonsense] = answers;
        expect(list?.case === 'listServicesResponse' && list.value.service.map(({ name }) => name)).toEqual(
          services.map(({ typeName }) => typeName),
        );
        expect(symbol?.case).toBe('fileDescriptorResponse');
        expect(symbol).toEqual(file);
        expect(extension?.case).toBe('fileDescriptorResponse');
        expect(numbers).toMatchObject({ value: { extensionNumber: [50001, 50002] } });
        expect(none).toMatchObject({ case: 'errorResponse', value: { errorCode: 5 } });
        expect(nonsense).toMatchObject({ case: 'errorResponse', value: { errorCode: 3 } });
      }
    } finally {
      await open.stop();
    }
  });
});
