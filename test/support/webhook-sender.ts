import { createHmac, randomBytes } from 'node:crypto';
import type { TestGate } from './gate.ts';

/** Secrets of the sources of `senderYaml`. */
export const secrets = {
  github: 'a github secret for tests only',
  stripe: 'whsec_stripe_secret_for_tests',
  slack: '8f742231b10e8888abcd99yyyzzz85a5',
  standard: `whsec_${randomBytes(32).toString('base64')}`,
};

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: {
    readonly id?: string;
    readonly state?: string;
    readonly duplicate?: boolean;
    readonly code?: string;
  };
}

/** Posts a webhook as it is, signed or not. */
export async function post(
  gate: Pick<TestGate, 'url'>,
  path: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string>>,
): Promise<Answer> {
  const answer = await fetch(`${gate.url}/v1/webhooks/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: new Uint8Array(Buffer.from(body)),
  });
  const text = await answer.text();
  return { status: answer.status, text, json: text.startsWith('{') ? (JSON.parse(text) as Answer['json']) : {} };
}

export const hex = (secret: string, text: string | Buffer) => createHmac('sha256', secret).update(text).digest('hex');

/** The headers that GitHub sends. */
export function githubHeaders(
  body: string | Buffer,
  secret = secrets.github,
  delivery = randomBytes(8).toString('hex'),
) {
  return {
    'x-hub-signature-256': `sha256=${hex(secret, body)}`,
    'x-github-event': 'push',
    'x-github-delivery': delivery,
  };
}

/** The header that Stripe sends. */
export function stripeHeaders(body: string, ageS = 0, secret = secrets.stripe) {
  const time = Math.floor(Date.now() / 1000) - ageS;
  return { 'stripe-signature': `t=${time},v1=${hex(secret, `${time}.${body}`)}` };
}

/** The headers that Slack sends. */
export function slackHeaders(body: string) {
  const time = String(Math.floor(Date.now() / 1000));
  return { 'x-slack-request-timestamp': time, 'x-slack-signature': `v0=${hex(secrets.slack, `v0:${time}:${body}`)}` };
}
