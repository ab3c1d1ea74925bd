import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { Stripe } from 'stripe';
import { describe, expect, test } from 'vitest';
import { webhookSchemes } from '../../../config/webhook-schema.ts';
import { type ReceivedHeaders, schemeNames, type SourceOptions } from '../model.ts';
import { sourceOf } from '../sources.ts';

/** What vendors say in their documentation, and what their own packages sign, in both directions. */

const defaults: Omit<SourceOptions, 'scheme' | 'secrets'> = {
  project: 'default',
  headers: [],
  seal: false,
  body_bytes_max: 1_000_000,
  tolerance_s: 300,
  signature_prefix: '',
  encoding: 'hex',
  algorithm: 'sha256',
  signed: '{body}',
};

interface Sent {
  readonly options: Partial<SourceOptions> & Pick<SourceOptions, 'scheme' | 'secrets'>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Unix seconds at which it arrives. */
  readonly nowS: number;
}

/** `valid`, or why not. */
function judge({ options, headers, body, nowS }: Sent & { headers: ReceivedHeaders | Record<string, string> }): string {
  const { scheme } = sourceOf('s', { ...defaults, ...options });
  if (!scheme) throw new Error('it does not sign');
  const received = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat()]));
  const judged = scheme.prepare(received, nowS);
  if (typeof judged !== 'function') return `${judged.status}: ${judged.reason}`;
  return judged(Buffer.from(body, 'latin1')) ? 'valid' : 'invalid: wrong_signature';
}

const nowS = 1_790_000_000;
const secret = 'a secret of thirty-two characters';

const stripeBody = '{"id":"evt_1","object":"event","type":"charge.succeeded"}';
const stripeHeader = new Stripe('sk_test_x').webhooks.generateTestHeaderString({
  payload: stripeBody,
  secret: 'whsec_test_secret_1234',
  timestamp: nowS,
});

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const whpk = `whpk_${publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64')}`;
const asymmetric = sign(null, Buffer.from(`msg_1.${nowS}.{"test":1}`), privateKey).toString('base64');

const slackBody =
  'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c';

const b64 = (key: string, text: string) => createHmac('sha256', key).update(text).digest('base64');

/** Each as its vendor signs it. The header with the signature is first. */
const vectors: readonly (readonly [string, Sent])[] = [
  [
    "GitHub's documented one",
    {
      options: { scheme: 'github', secrets: ["It's a Secret to Everybody"] },
      headers: { 'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' },
      body: 'Hello, World!',
      nowS,
    },
  ],
  [
    "Slack's documented one",
    {
      options: { scheme: 'slack', secrets: ['8f742231b10e8888abcd99yyyzzz85a5'] },
      headers: {
        'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
        'x-slack-request-timestamp': '1531420618',
      },
      body: slackBody,
      nowS: 1_531_420_618,
    },
  ],
  [
    "one of Stripe's own package",
    {
      options: { scheme: 'stripe', secrets: ['whsec_test_secret_1234'] },
      headers: { 'stripe-signature': stripeHeader },
      body: stripeBody,
      nowS,
    },
  ],
  [
    'the one of the Standard Webhooks libraries',
    {
      options: { scheme: 'standard-webhooks', secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'] },
      headers: {
        'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
        'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        'webhook-timestamp': '1614265330',
      },
      body: '{"test": 2432232314}',
      nowS: 1_614_265_330,
    },
  ],
  [
    'an ed25519 signature of Standard Webhooks',
    {
      options: { scheme: 'standard-webhooks', secrets: [whpk] },
      headers: { 'webhook-signature': `v1a,${asymmetric}`, 'webhook-id': 'msg_1', 'webhook-timestamp': String(nowS) },
      body: '{"test":1}',
      nowS,
    },
  ],
  [
    'one as Shopify signs',
    {
      options: { scheme: 'shopify', secrets: [secret] },
      headers: { 'x-shopify-hmac-sha256': b64(secret, '{"id":820982911946154508}') },
      body: '{"id":820982911946154508}',
      nowS,
    },
  ],
  [
    'one as KIE.ai signs',
    {
      options: { scheme: 'kieai', secrets: [secret] },
      headers: { 'x-webhook-signature': b64(secret, `ee9c2715375b7837.${nowS}`), 'x-webhook-timestamp': String(nowS) },
      body: '{"data":{"task_id":"ee9c2715375b7837"}}',
      nowS,
    },
  ],
  [
    'one in plain hex',
    {
      options: { scheme: 'upload-post', secrets: [secret] },
      headers: { 'x-signature': createHmac('sha256', secret).update('{}').digest('hex') },
      body: '{}',
      nowS,
    },
  ],
  [
    'one of a generic sender, with a time and an id',
    {
      options: {
        scheme: 'hmac',
        secrets: [secret],
        algorithm: 'sha512',
        signature_header: 'x-sig',
        signature_prefix: 'sha512=',
        timestamp_header: 'x-time',
        id_header: 'x-id',
        signed: '{id}:{timestamp}:{body}',
      },
      headers: {
        'x-sig': `sha512=${createHmac('sha512', secret).update(`e1:${nowS}:{}`).digest('hex')}`,
        'x-time': String(nowS),
        'x-id': 'e1',
      },
      body: '{}',
      nowS,
    },
  ],
];

/** The text with one bit turned, for each bit; what cannot stand in a header counts as changed too. */
function* turned(text: string): Generator<string> {
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length * 8; at++) {
    const changed = Buffer.from(bytes);
    changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at & 7));
    yield changed.toString('latin1');
  }
}

describe.each(vectors)('%s', (_title, sent) => {
  test('is verified', () => {
    expect(judge(sent)).toBe('valid');
  });

  test('is not, with any bit of its headers changed', () => {
    for (const [name, value] of Object.entries(sent.headers))
      for (const changed of turned(value)) {
        expect(judge({ ...sent, headers: { ...sent.headers, [name]: changed } }), changed).not.toBe('valid');
      }
  });

  test('is not, with any bit of what was signed of its body changed', () => {
    // KIE.ai signs the id of the task alone.
    const signed = sent.options.scheme === 'kieai' ? 'ee9c2715375b7837' : sent.body;
    for (const changed of turned(signed)) {
      expect(judge({ ...sent, body: sent.body.replace(signed, () => changed) })).not.toBe('valid');
    }
  });

  test('is not under another secret, and is while two secrets hold', () => {
    if (sent.options.secrets[0] === whpk) return;
    const other = `whsec_${randomBytes(32).toString('base64')}`;
    expect(judge({ ...sent, options: { ...sent.options, secrets: [other] } })).toBe('invalid: wrong_signature');
    expect(judge({ ...sent, options: { ...sent.options, secrets: [other, ...sent.options.secrets] } })).toBe('valid');
  });

  test('is missing without any of its headers, and refused where one is there twice', () => {
    for (const [name, value] of Object.entries(sent.headers)) {
      const { [name]: _gone, ...others } = sent.headers;
      expect(judge({ ...sent, headers: others })).toMatch(/^missing: /);
      const twice = { ...sent.headers, [name]: [value, value] } as unknown as Record<string, string>;
      expect(judge({ ...sent, headers: twice })).toBe('invalid: repeated_header');
    }
  });

  test('is stale more than five minutes before and after its time, where that is signed', () => {
    const { scheme, timestamp_header: own } = sent.options;
    const isTimed = ['stripe', 'slack', 'standard-webhooks', 'kieai'].includes(scheme) || own !== undefined;
    for (const [ahead, verdict] of [
      [-301, 'stale: out_of_time'],
      [-300, 'valid'],
      [300, 'valid'],
      [301, 'stale: out_of_time'],
      [1e9, 'stale: out_of_time'],
    ] as const)
      expect(judge({ ...sent, nowS: sent.nowS + ahead }), `${ahead}`).toBe(isTimed ? verdict : 'valid');
  });
});

describe('Standard Webhooks', () => {
  const key = randomBytes(32).toString('base64');
  const options = { scheme: 'standard-webhooks', secrets: [`whsec_${key}`] } as const;

  test('what its package signs is verified here, beside other signatures', () => {
    const date = new Date(nowS * 1000);
    for (const id of ['msg_1', 'msg_2']) {
      const signature = new Webhook(key).sign(id, date, '{"a":"\u00e9"}');
      const body = Buffer.from('{"a":"\u00e9"}').toString('latin1');
      const headers = {
        'webhook-id': id,
        'webhook-timestamp': String(nowS),
        'webhook-signature': `v1a,AAAA ${signature}`,
      };
      expect(judge({ options, headers, body, nowS })).toBe('valid');
    }
  });

  test('an id or a time that would make another text of the same signs is refused', () => {
    const signature = new Webhook(key).sign('msg_1.2', new Date(nowS * 1000), '{}');
    const headers = { 'webhook-id': 'msg_1.2', 'webhook-timestamp': String(nowS), 'webhook-signature': signature };
    expect(judge({ options, headers, body: '{}', nowS })).toBe('invalid: malformed');
  });

  test('an ed25519 signature is not taken for an HMAC, and the other way round', () => {
    const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(nowS) };
    const signature = asymmetric;
    for (const secrets of [[whpk], [`whsec_${key}`]])
      expect(
        judge({
          options: { ...options, secrets },
          headers: { ...headers, 'webhook-signature': `v1,${signature}` },
          body: '{"test":1}',
          nowS,
        }),
      ).toBe('invalid: wrong_signature');
  });

  test('keys that are too short, or no keys, are refused', () => {
    for (const secrets of [['whsec_c2hvcnQ='], ['whpk_c2hvcnQ=']])
      expect(() => judge({ options: { ...options, secrets }, headers: {}, body: '', nowS })).toThrow(/decodes to/);
  });
});

describe('signatures in other forms', () => {
  test.each([
    ['upper-case hex', 'sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17'],
    ['no prefix', '757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'],
    ['SHA-1', 'sha1=757107ea0eb2509fc211221cce984b8a37570b6d'],
    ['nothing behind the prefix', 'sha256='],
    ['two of them', 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17, sha256=00'],
    ['a very long one', `sha256=${'0'.repeat(10_000)}`],
  ])('%s is refused', (_form, signature) => {
    const [, github] = vectors[0]!;
    expect(judge({ ...github, headers: { 'x-hub-signature-256': signature } })).toMatch(/^invalid: malformed/);
  });

  test.each([
    ['two times', stripeHeader.replace(/^t=\d+/, `$&,t=${nowS - 1}`), 'invalid: malformed'],
    ['only a test signature (v0)', stripeHeader.replace('v1=', 'v0='), 'missing: no_signature'],
    ['an older and the right one', stripeHeader.replace('v1=', `v1=${'0'.repeat(64)},v1=`), 'valid'],
    ['an unknown scheme beside it', `${stripeHeader},v9=00`, 'valid'],
  ])('of Stripe: %s', (_form, signature, verdict) => {
    const [, stripe] = vectors[2]!;
    expect(judge({ ...stripe, headers: { 'stripe-signature': signature } })).toBe(verdict);
  });
});

test('the configuration has the schemes that there are', () => {
  expect([...webhookSchemes]).toEqual([...schemeNames]);
});
