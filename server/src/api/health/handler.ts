import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, createConnectRouter, type ServiceImpl } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { healthWatchEveryMs, healthWatchesMax, probeBytesMax } from '../../base/limits.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/grpc/health/v1/health_pb.ts';
import { services } from '../methods.ts';

export interface HealthOptions {
  /** Whether the gate takes work: never true of one that is being stopped. Asked often, by anybody. */
  readonly isServing: () => Promise<boolean>;
  readonly draining: () => boolean;
}

/** The gRPC health protocol, for whoever asks: all services here stand and fall together. */
export function healthHandlers(options: HealthOptions): readonly UniversalHandler[] {
  const bounds = { readMaxBytes: probeBytesMax, writeMaxBytes: probeBytesMax };
  return createConnectRouter().service(Health, healthHandler(options), bounds).handlers;
}

function healthHandler({ isServing, draining }: HealthOptions): ServiceImpl<typeof Health> {
  // The empty name is the server as a whole.
  const known = new Set(['', Health.typeName, ...services.map(({ typeName }) => typeName)]);
  let watches = 0;

  async function statusOf(service: string): Promise<Status> {
    if (!known.has(service)) return Status.SERVICE_UNKNOWN;
    return (await isServing()) ? Status.SERVING : Status.NOT_SERVING;
  }

  return {
    async check({ service }) {
      const status = await statusOf(service);
      if (status === Status.SERVICE_UNKNOWN) throw new ConnectError('There is no such service.', Code.NotFound);
      return { status };
    },

    async *watch({ service }, { signal }) {
      if (watches >= healthWatchesMax)
        throw new ConnectError(`This process has ${healthWatchesMax} watches already.`, Code.ResourceExhausted);
      watches += 1;
      try {
        let told: Status | null = null;
        while (!signal.aborted) {
          const last = draining();
          const status = await statusOf(service);
          if (status !== told) yield { status };
          told = status;
          // Who watches does not keep us from stopping.
          if (last) return;
          await sleep(healthWatchEveryMs, null, { signal }).catch(() => undefined);
        }
      } finally {
        watches -= 1;
      }
    },
  };
}
