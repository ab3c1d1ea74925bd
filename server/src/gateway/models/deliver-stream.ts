import { PortcullisError } from '../../base/errors.ts';
import { GrowingBuffer } from '../../base/growing-buffer.ts';
import { sseEventBytesMax } from '../../base/limits.ts';
import { type SseFrame, SseFrames } from '../../net/sse.ts';
import { end, write } from './client-writer.ts';
import type { Delivery, DeliveryContext } from './forward.ts';
import { OverrunWatch } from './overrun.ts';
import { droppedHeader, responseHeaders } from './passing-headers.ts';
import { type StreamRelay, passThrough, translated } from './relay.ts';
import { requestIdHeader } from './wire.ts';

/**
 * Passes a stream on, event by event. Whole events only, so that an error event can always follow; the ending is kept
 * back until the money is settled.
 */
export async function deliverStream(context: DeliveryContext): Promise<Delivery> {
  const { call, plan, reserved, upstream, progress } = context;
  const { provider } = plan.target;
  if (!/^text\/event-stream\b/i.test(String(upstream.headers['content-type']))) {
    throw new PortcullisError('upstream_error', 'The provider did not answer with a stream.');
  }
  const relay = createRelay(context);
  progress.answer = relay;
  begin(context);

  const overrun = new OverrunWatch(reserved, relay);
  let ending = new GrowingBuffer();
  const hold = (bytes: Buffer) => {
    ending.push(bytes);
    if (ending.length > sseEventBytesMax)
      throw new PortcullisError(
        'upstream_error',
        `The provider's answer has more than ${sseEventBytesMax} bytes of ending.`,
      );
  };
  const pass = async (frames: readonly SseFrame[]) => {
    const passing: Buffer[] = [];
    try {
      for (const frame of frames) {
        const bytes = relay.push(frame);
        if (relay.failed) {
          // The error event is the ending then, and nothing else is.
          ending = new GrowingBuffer();
          if (bytes !== null) ending.push(provider.scrub(bytes));
          return;
        }
        overrun.check(frame.data);
        if (bytes !== null && !relay.complete) passing.push(bytes);
        // A frame without data is a comment, which keeps a connection alive: held back it serves nobody.
        if (bytes !== null && relay.complete && frame.data !== '') hold(bytes);
        if (relay.ended) return;
      }
    } finally {
      if (passing.length > 0) await write(call.exchange, passing, call.signal);
    }
  };
  const frames = new SseFrames();
  try {
    for await (const chunk of upstream.body) {
      context.arrived();
      await pass(frames.push(chunk));
      if (relay.failed || relay.ended) break;
    }
    if (!relay.failed && !relay.ended) await pass(frames.end().frames);
    const rest = relay.end();
    if (rest !== null) hold(rest);
  } catch (error) {
    // What breaks after the end of an answer takes nothing from it.
    if (!relay.complete || ending.length > sseEventBytesMax) throw error;
  }
  return {
    outcome: relay.failed ? 'failed' : 'success',
    errorClass: relay.failed ? 'upstream_error' : null,
    progress,
    finish: () => {
      if (relay.failed) call.exchange.access.code = 'upstream_error';
      end(call.exchange, ending.bytes());
    },
  };
}

function createRelay({ call, plan }: DeliveryContext): StreamRelay {
  const { translation, facts, dialectOut, hideUsage } = plan;
  const { requestId } = call.exchange;
  return translation
    ? translated(translation.stream({ includeUsage: facts.usageRequested, requestId }))
    : passThrough({ dialect: dialectOut, choices: facts.choices, hideUsage });
}

// The head goes out when the provider has accepted: until then a refusal can still be an HTTP error.
function begin({ call, plan, upstream }: DeliveryContext): void {
  const { response, requestId } = call.exchange;
  response.writeHead(200, {
    ...(plan.translation ? droppedHeader(plan.translation.dropped) : responseHeaders(upstream.headers)),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
    ...requestIdHeader(call.endpoint.dialect, requestId),
  });
  response.flushHeaders();
  call.streaming = true;
}
