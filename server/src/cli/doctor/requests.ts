import type { ProbeRequest } from './probe.ts';

/** A method of the control API that any good credential may call. */
export const self = '/portcullis.v1.SystemService/GetSelf';
/** One that needs keys:read. */
export const listAgents = '/portcullis.v1.AgentService/ListAgents';

export function control(path: string, headers: Readonly<Record<string, string>> = {}, body = '{}'): ProbeRequest {
  return { method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, body };
}

export function bearer(key: { readonly secret: string }): Record<string, string> {
  return { authorization: `Bearer ${key.secret}` };
}

/** A small model call in Anthropic's dialect. */
export function modelCall(model: string, key: { readonly secret: string }, stream = false): ProbeRequest {
  const messages = [{ role: 'user', content: 'Say that you are there.' }];
  return {
    method: 'POST',
    path: '/v1/messages',
    headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01', 'x-api-key': key.secret },
    body: JSON.stringify({ model, max_tokens: stream ? 1000 : 32, messages, ...(stream ? { stream } : {}) }),
  };
}
