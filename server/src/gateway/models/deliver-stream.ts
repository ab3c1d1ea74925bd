import { PortcullisError } from '../../base/errors.ts';
import { SseFrames } from '../../net/sse.ts';
import { end, write } from './client-writer.ts';
import type { Delivery, DeliveryContext } from './forward.ts';
import { responseHeaders } from './passing-headers.ts';
import { type StreamRelay, passThrough, translated } from './relay.ts';

/**
 * Passes a stream on, event by event. Whole events only, so that an error event can always follow; the ending is kept
 * back until the money is settled.
 */
export async function deliverStream(context: DeliveryContext): Promise<Delivery> {
  const { call, plan, upstream, deadline, progress } = context;
  if (!String(upstream.headers['content-type']).startsWith('text/event-stream')) {
    throw new PortcullisError('upstream_error', 'The provider did not answer with a stream.');
  }
  const relay = plan.translation
    ? translated(
        plan.translation.stream({ includeUsage: plan.facts.usageRequested, requestId: call.exchange.requestId }),
      )
    : passThrough(plan.dialectOut, plan.hideUsage);
  progress.relay = relay;
  begin(context, relay);

  const frames = new SseFrames();
  const ending: Buffer[] = [];
  for await (const chunk of upstream.body) {
    deadline.progress();
    context.firstByte();
    const passing: Buffer[] = [];
    for (const frame of frames.push(chunk)) {
      const bytes = relay.push(frame);
      if (bytes !== null) (relay.complete ? ending : passing).push(bytes);
    }
    if (passing.length > 0)
      await write(call.exchange, passing.length === 1 && passing[0] ? passing[0] : Buffer.concat(passing), call.signal);
  }
  const rest = relay.end();
  if (rest !== null) ending.push(rest);
  return {
    outcome: relay.failed ? 'failed' : 'success',
    errorClass: relay.failed ? 'upstream_error' : null,
    billable: true,
    usage: relay.usage,
    complete: relay.complete,
    outputBytes: relay.outputBytes,
    firstTokenMs: progress.firstTokenMs,
    finish: () => end(call.exchange, Buffer.concat(ending)),
  };
}

// The head goes out when the provider has accepted: until then a refusal can still be an HTTP error.
function begin({ call, plan, upstream }: DeliveryContext, relay: StreamRelay): void {
  const { response } = call.exchange;
  response.writeHead(200, {
    ...(plan.translation ? {} : responseHeaders(upstream.headers)),
    ...droppedHeader(plan.translation?.dropped ?? []),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  });
  response.flushHeaders();
  call.failStream = (error) => relay.fail(error, call.exchange.requestId);
}

/** Names what a lossy route dropped; nothing is dropped silently. */
export function droppedHeader(dropped: readonly string[]): Record<string, string> {
  return dropped.length > 0 ? { 'portcullis-dropped': dropped.join(', ') } : {};
}
