import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import {
  type ClientOptions,
  type Failure,
  type Json,
  type Method,
  type Sdks,
  type Told,
  clientTimeoutMs,
  familyOf,
} from './sdks.ts';

const weatherOutput = z.object({ city: z.string(), days: z.int() });

type Made = Omit<Told, 'said' | 'events' | 'requestId'> &
  Partial<Pick<Told, 'events' | 'requestId'>> & { readonly spoken?: unknown };

interface Clients {
  readonly anthropic: Anthropic;
  readonly openai: OpenAI;
}

const methods: Readonly<Record<Exclude<Method, 'models.list'>, (clients: Clients, params: Json) => Promise<Made>>> = {
  'messages.create': async ({ anthropic }, params) => ofMessage(await anthropic.messages.create(params)),
  'messages.events': async ({ anthropic }, params) =>
    eventsOf(await anthropic.messages.create({ ...params, stream: true }).withResponse()),
  'messages.stream': async ({ anthropic }, params) => {
    const stream = anthropic.messages.stream(params);
    const { events } = await eventsOf({ data: stream });
    return { ...ofMessage(await stream.finalMessage()), events: typesOf(events), requestId: stream.request_id ?? null };
  },
  'messages.parse': async ({ anthropic }, params) => {
    const format = zodOutputFormat(weatherOutput);
    const message = await anthropic.messages.parse({ ...params, output_config: { format } });
    return { ...ofMessage(message), parsed: message.parsed_output };
  },
  'messages.count': async ({ anthropic }, params) => plain(await anthropic.messages.countTokens(params)),
  'completions.create': async ({ openai }, params) => ofCompletion(await openai.chat.completions.create(params)),
  'completions.events': async ({ openai }, params) =>
    eventsOf(await openai.chat.completions.create({ ...params, stream: true }).withResponse()),
  'completions.stream': async ({ openai }, params) => {
    const stream = openai.chat.completions.stream(params);
    const events: string[] = [];
    stream.on('chunk', () => events.push('chunk')).on('content', () => events.push('content.delta'));
    return { ...ofCompletion(await stream.finalChatCompletion()), events };
  },
  'completions.parse': async ({ openai }, params) => {
    const format = zodResponseFormat(weatherOutput, 'weather');
    const completion = await openai.chat.completions.parse({ ...params, response_format: format });
    return { ...ofCompletion(completion), parsed: completion.choices[0]?.message.parsed };
  },
  'responses.create': async ({ openai }, params) => ofResponse(await openai.responses.create(params)),
  'responses.events': async ({ openai }, params) =>
    eventsOf(await openai.responses.create({ ...params, stream: true }).withResponse()),
  'responses.stream': async ({ openai }, params) => {
    const stream = openai.responses.stream(params);
    const { events } = await eventsOf({ data: stream });
    return { ...ofResponse(await stream.finalResponse()), events: typesOf(events) };
  },
  'responses.parse': async ({ openai }, params) => {
    const response = await openai.responses.parse({
      ...params,
      text: { format: zodTextFormat(weatherOutput, 'weather') },
    });
    return { ...ofResponse(response), parsed: response.output_parsed };
  },
  'embeddings.create': async ({ openai }, params) => plain(await openai.embeddings.create(params)),
};

async function eventsOf({ data, request_id: requestId = null }: Json): Promise<Made & { readonly events: Json[] }> {
  const events: Json[] = [];
  for await (const event of data) events.push(event);
  return { answer: null, events, requestId };
}

const typesOf = (events: readonly Json[]): string[] => events.map(({ type }) => type);
const plain = (answer: Json): Made => ({ answer, requestId: answer._request_id ?? null });
const ofMessage = (message: Json): Made => ({ ...plain(message), spoken: message.content });
const ofCompletion = (completion: Json): Made => ({ ...plain(completion), spoken: completion.choices[0].message });
const ofResponse = (response: Json): Made => ({ ...plain(response), spoken: response.output });

/** The JavaScript SDKs, in this process. */
export function createJavaScriptSdks(): Sdks {
  const said = new Map<number, unknown>();
  return {
    async call(method, params, options, family = familyOf(method)) {
      const clients = clientsOf(options);
      try {
        if (method === 'models.list') {
          const ids: string[] = [];
          for await (const { id } of clients[family].models.list(params)) ids.push(id);
          return { told: { answer: ids, events: [], requestId: null, said: { $said: 0 } } };
        }
        const { spoken, ...made } = await methods[method](clients, givenBack(params, said));
        const id = said.size + 1;
        said.set(id, spoken);
        return { told: { events: [], requestId: null, ...made, said: { $said: id } } };
      } catch (error) {
        return { failure: failureOf(error) };
      }
    },
    stop: async () => said.clear(),
  };
}

function clientsOf({ gateUrl, apiKey, maxRetries, headers }: ClientOptions): Clients {
  const options = {
    apiKey,
    timeout: clientTimeoutMs,
    defaultHeaders: headers,
    ...(maxRetries !== undefined && { maxRetries }),
  };
  return {
    anthropic: new Anthropic({ ...options, baseURL: gateUrl }),
    openai: new OpenAI({ ...options, baseURL: `${gateUrl}/v1` }),
  };
}

/** Puts in what the model said; what a Response says is several items of the next input. */
function givenBack(value: unknown, said: ReadonlyMap<number, unknown>): unknown {
  if (Array.isArray(value)) {
    return value.flatMap((item) => {
      const known = givenBack(item, said);
      return Array.isArray(item) ? [known] : known;
    });
  }
  if (typeof value !== 'object' || value === null) return value;
  if ('$said' in value) return said.get(Number(value.$said));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, givenBack(member, said)]));
}

function failureOf(error: Json): Failure {
  const classes: string[] = [];
  for (let each = error.constructor; each?.name; each = Object.getPrototypeOf(each)) classes.push(each.name);
  return {
    classes,
    message: String(error.message),
    status: error.status ?? null,
    requestId: error.requestID ?? null,
    type: error.type ?? null,
    code: error.errorCode ?? error.code ?? null,
    param: error.param ?? null,
    headers: Object.fromEntries(error.headers ?? []),
  };
}
