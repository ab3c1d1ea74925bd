import type { Json, Told } from './sdks.ts';

/** The same request and answer in the words of each dialect, for tests that ask the same of all of them. */

/** What the SDKs call a dialect's operations. */
export const apis = ['messages', 'completions', 'responses'] as const;
export type Api = (typeof apis)[number];

const limits: Readonly<Record<Api, object>> = {
  messages: { max_tokens: 2_000 },
  completions: { max_completion_tokens: 2_000 },
  responses: { max_output_tokens: 2_000 },
};

/** A request in an API's own words: `turns` are its messages or input items. */
export function asking(api: Api, model: string, turns: readonly unknown[], rest: object = {}): object {
  return { model, ...limits[api], [api === 'responses' ? 'input' : 'messages']: turns, ...rest };
}

export const user = (content: unknown) => ({ role: 'user', content });

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
export const tools: Readonly<Record<Api, (name: string) => object>> = {
  messages: (name) => ({ name, input_schema: parameters }),
  completions: (name) => ({ type: 'function', function: { name, parameters } }),
  responses: (name) => ({ type: 'function', name, parameters, strict: false }),
};

/** The texts of an answer, in whichever shape. */
export function textOf(api: Api, { answer }: Pick<Told, 'answer'>): string {
  if (api === 'messages') return texts(answer.content);
  if (api === 'completions') return answer.choices[0].message.content ?? '';
  return texts(answer.output.flatMap((item: { content?: unknown[] }) => item.content ?? []));
}

const texts = (parts: readonly { readonly text?: string }[]) => parts.map(({ text }) => text ?? '').join('');

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}

export function callsOf(api: Api, { answer }: Pick<Told, 'answer'>): ToolCall[] {
  if (api === 'messages') return answer.content.filter(({ type }: { type: string }) => type === 'tool_use');
  if (api === 'completions') {
    return (answer.choices[0].message.tool_calls ?? []).map(({ id, function: { name, arguments: json } }: Json) => ({
      id,
      name,
      input: JSON.parse(json),
    }));
  }
  return answer.output
    .filter(({ type }: { type: string }) => type === 'function_call')
    .map(({ call_id: id, name, arguments: json }: Json) => ({ id, name, input: JSON.parse(json) }));
}

/** The turns that give an answer back to the model as it came, with the results of its calls. */
export function goingOn(
  api: Api,
  { said }: Told,
  results: readonly (readonly [id: string, result: string])[],
): unknown[] {
  if (api === 'messages') {
    const content = results.map(([id, result]) => ({ type: 'tool_result', tool_use_id: id, content: result }));
    return [{ role: 'assistant', content: said }, user(content.length > 0 ? content : 'Go on.')];
  }
  const rest =
    api === 'completions'
      ? results.map(([id, content]) => ({ role: 'tool', tool_call_id: id, content }))
      : results.map(([id, output]) => ({ type: 'function_call_output', call_id: id, output }));
  return [said, ...rest, ...(rest.length > 0 ? [] : [user('Go on.')])];
}
