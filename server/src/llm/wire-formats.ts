import * as anthropicRequest from './anthropic/request.ts';
import * as anthropicResponse from './anthropic/response.ts';
import * as anthropicStream from './anthropic/stream.ts';
import * as chatRequest from './chat/request.ts';
import * as chatResponse from './chat/response.ts';
import * as chatStream from './chat/stream.ts';
import type { Answer, AnswerContext, Conversation, Target } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import type { Losses } from './losses.ts';
import * as responsesRequest from './responses/request.ts';
import * as responsesResponse from './responses/response.ts';
import * as responsesStream from './responses/stream.ts';
import type { EncoderOptions, StreamDecoder, StreamEncoder } from './stream-events.ts';

/** What every dialect's folder exports: six functions between its wire format and the canonical types. */
export interface WireFormat {
  /** @throws PortcullisError invalid_argument */
  parseRequest(json: unknown, losses: Losses): Conversation;
  /** @throws PortcullisError invalid_argument for what the dialect cannot express */
  writeRequest(conversation: Conversation, target: Target, losses: Losses): string;
  /** @throws PortcullisError upstream_error */
  parseAnswer(json: unknown, losses: Losses): Answer;
  /** `losses` is told what the answer has to lack. @throws PortcullisError upstream_error for what the dialect cannot express */
  writeAnswer(answer: Answer, context: AnswerContext, losses?: Losses): string;
  createDecoder(losses: Losses): StreamDecoder;
  createEncoder(options: EncoderOptions): StreamEncoder;
}

export const wireFormats: Readonly<Record<Dialect, WireFormat>> = {
  anthropic: { ...anthropicRequest, ...anthropicResponse, ...anthropicStream },
  chat: { ...chatRequest, ...chatResponse, ...chatStream },
  responses: { ...responsesRequest, ...responsesResponse, ...responsesStream },
};
