import type { Answer, AnswerContext, Conversation, StopReason } from '../conversation.ts';
import type { Usage } from '../usage.ts';
import { writeReasoningRequest, writeText } from './request.ts';
import { writeToolChoice, writeTools } from './tools.ts';
import { writeUsage } from './usage-writer.ts';

/** How a response stands. */
export interface Standing {
  readonly status: 'in_progress' | 'completed' | 'incomplete' | 'failed';
  readonly incompleteReason: 'max_output_tokens' | 'content_filter' | null;
  readonly error?: object;
  readonly output: readonly object[];
  readonly usage: Usage | null;
}

/** There is no word for a stop sequence, since none can be asked for. */
export function ending(stop: StopReason): Pick<Standing, 'status' | 'incompleteReason'> {
  if (stop === 'length') return { status: 'incomplete', incompleteReason: 'max_output_tokens' };
  if (stop === 'refusal') return { status: 'incomplete', incompleteReason: 'content_filter' };
  return { status: 'completed', incompleteReason: null };
}

/** Writes a response as JSON text. Much of it repeats the request, and a stream tells it three times: that is written once. */
export class ResponseWriter {
  readonly #createdS: number;
  readonly #echo: string;

  constructor({ createdS, request }: AnswerContext) {
    this.#createdS = createdS;
    this.#echo = JSON.stringify(echo(request)).slice(1);
  }

  write({ id, model }: Pick<Answer, 'id' | 'model'>, standing: Standing): string {
    const { status, incompleteReason, error, output, usage } = standing;
    const response = {
      id,
      object: 'response',
      created_at: this.#createdS,
      status,
      error: error ?? null,
      incomplete_details: incompleteReason === null ? null : { reason: incompleteReason },
      model,
      output,
      usage: usage === null ? null : writeUsage(usage),
    };
    return `${JSON.stringify(response).slice(0, -1)},${this.#echo}`;
  }
}

/** What the vendor's types demand besides. */
function echo(request: Conversation): object {
  return {
    access_programs: null,
    background: false,
    instructions: request.system.length === 0 ? null : request.system.map(({ text }) => text).join('\n\n'),
    max_output_tokens: request.maxOutputTokens,
    metadata: {},
    parallel_tool_calls: request.toolChoice.parallel,
    previous_response_id: null,
    reasoning: { effort: null, summary: null, ...writeReasoningRequest(request.reasoning).reasoning },
    service_tier: 'default',
    store: false,
    temperature: request.temperature,
    text: { format: { type: 'text' }, ...writeText(request).text },
    tool_choice: writeToolChoice(request.toolChoice, request.tools),
    tools: writeTools(request.tools),
    top_p: request.topP,
    truncation: 'disabled',
    ...(request.user !== null && { user: request.user }),
  };
}
