import { setTimeout as sleep } from 'node:timers/promises';
import { dialects } from '../../../../llm/dialect.ts';
import { parseExactJson } from '../../../../llm/exact-json.ts';
import { simulateEmbedding } from '../../../../llm/sim/embeddings.ts';
import { type Simulation, simulate } from '../../../../llm/sim/simulate.ts';
import { droppedHeader } from '../../passing-headers.ts';
import type { Provider, UpstreamAnswer, UpstreamRequest } from '../../provider.ts';

/** The built-in simulated model (llm/sim): it speaks every dialect, needs no network, and marks all that it says. */
export function createSimProvider(name: string): Provider {
  return {
    name,
    kind: 'sim',
    type: 'opensource',
    dialects,
    credential: 'gate',
    countsTokens: false,
    embeds: true,
    send: async (request) => answer(request),
    refusal: (status, body) => ({ status, body }),
    scrub: (body) => body,
    close: async () => undefined,
  };
}

const json = { 'content-type': 'application/json' };

function answer({ dialect, operation, body, attemptId, beforeWrite, signal }: UpstreamRequest): UpstreamAnswer {
  signal.throwIfAborted();
  beforeWrite();
  const request = parseExactJson(body.toString());
  const simulation =
    operation === 'embed' ? simulateEmbedding(request) : simulate({ dialect, body: request, requestId: attemptId });
  // It says nothing that nobody reads.
  const unread = () => 'nothing' as const;
  if (simulation.kind === 'error') {
    return { status: simulation.status, headers: json, body: whole(simulation, signal), unread };
  }
  const dropped = droppedHeader(simulation.dropped);
  return simulation.kind === 'stream'
    ? {
        status: 200,
        headers: { 'content-type': 'text/event-stream', ...dropped },
        body: play(simulation, signal),
        unread,
      }
    : { status: 200, headers: { ...json, ...dropped }, body: whole(simulation, signal), unread };
}

async function* whole(
  { afterMs, body }: { afterMs: number; body: string },
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  await pause(afterMs, signal);
  yield Buffer.from(body);
}

async function* play({ events }: Extract<Simulation, { kind: 'stream' }>, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (const { afterMs, text } of events) {
    await pause(afterMs, signal);
    yield Buffer.from(text);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (ms <= 0) return;
  // The reason of the signal is the error of the call; the timer's own would hide it.
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}
