import { z } from 'zod';
import {
  webhookBodyBytesDefault,
  webhookBodyBytesMax,
  webhookHeadersKeptMax,
  webhookSecretBytesMin,
  webhookSecretCharsMax,
  webhookSecretCharsMin,
  webhookSecretsMax,
  webhookSourcesMax,
  webhookToleranceDefaultS,
  webhookToleranceMaxS,
} from '../base/inbound-limits.ts';

/** As webhook/inbound/schemes.ts has them; a test compares the two. */
export const webhookSchemes = [
  'github',
  'stripe',
  'slack',
  'shopify',
  'standard-webhooks',
  'kieai',
  'upload-post',
  'hmac',
  'shotstack',
] as const;

// `endpoints` is where our own outgoing ones are kept.
const sourceName = z
  .string()
  .regex(
    /^(?!endpoints$)[a-z0-9][a-z0-9-]{0,49}$/,
    'a source is named by lower-case letters, digits and dashes, 50 at most, and not `endpoints`',
  );
const pointer = z
  .string()
  .max(200)
  .regex(/^(\/([^~/]|~[01])*)+$/, 'write a JSON pointer, like /data/run_id (RFC 6901)');
const headerName = z
  .string()
  .max(100)
  .regex(/^[a-z0-9-]+$/, 'write the name of a header in lower case');
// Of a header that is kept: what would be a secret is not.
const keptHeader = headerName.refine(
  (name) => !/auth|cookie|secret|token|signature|key|password|credential/.test(name),
  'headers that may hold a secret are never kept',
);

const source = z
  .strictObject({
    scheme: z
      .enum(webhookSchemes)
      .describe(
        'How the sender signs: one of the vendors, `standard-webhooks`, or `hmac` with settings of its own. `shotstack` does not sign: it comes by a path that is made for each job, and is asked what became of it.',
      ),
    secrets: z
      .array(
        z
          .string()
          .min(webhookSecretCharsMin, `a secret has ${webhookSecretCharsMin} characters or more`)
          .max(webhookSecretCharsMax),
      )
      .max(webhookSecretsMax)
      .default([])
      .describe(
        `What it signs with, as \`\${NAME}\`: each of them holds, ${webhookSecretsMax} at most, so that a new one can be put beside the old one. Of \`standard-webhooks\` a secret begins with \`whsec_\`, a public key with \`whpk_\`. A change holds as soon as the file was read again.`,
      ),
    project: z.string().min(1).default('default').describe('The project, by name, that its events belong to.'),
    run: pointer
      .optional()
      .describe(
        'Where in the body the id of the run is that the event is about, as a JSON pointer: the event is told to that run, which must be of the project. Without it, and where nothing is there, an event is kept and nothing else.',
      ),
    type: pointer
      .optional()
      .describe('Where in the body the kind of event is. Without it: where the scheme has it, if it has one.'),
    event_id: pointer
      .optional()
      .describe(
        "Where in the body the sender's own id of the event is, by which it is known again. Without it: where the scheme has it; an event is known by all that was signed in any case.",
      ),
    headers: z
      .array(keptHeader)
      .max(webhookHeadersKeptMax)
      .default([])
      .describe('Headers to be kept with events besides those that are known to be of use. Never the signature.'),
    seal: z
      .boolean()
      .default(false)
      .describe('Keeps bodies encrypted, under a key that follows from `SECRETS_KEY`. For bodies with personal data.'),
    body_bytes_max: z
      .int()
      .min(1)
      .max(webhookBodyBytesMax)
      .default(webhookBodyBytesDefault)
      .describe('The largest body that is taken, in bytes; a larger one is refused unread. GitHub sends up to 25 MiB.'),
    tolerance_s: z
      .int()
      .min(10)
      .max(webhookToleranceMaxS)
      .default(webhookToleranceDefaultS)
      .describe('How far a signed time may lie from ours, both ways, in seconds. Where the scheme signs one.'),
    signature_header: headerName.optional().describe('For `hmac`: the header with the signature.'),
    signature_prefix: z
      .string()
      .max(50)
      .default('')
      .describe('For `hmac`: what stands before the signature in its header, such as `sha256=`.'),
    encoding: z
      .enum(['hex', 'base64'])
      .default('hex')
      .describe('For `hmac`: how the signature is written: hex in lower case, or base64 with its padding.'),
    algorithm: z.enum(['sha256', 'sha512']).default('sha256').describe('For `hmac`: the hash function.'),
    timestamp_header: headerName
      .optional()
      .describe('For `hmac`: the header with the time, in Unix seconds. It must be signed: name it in `signed`.'),
    id_header: headerName
      .optional()
      .describe("For `hmac`: the header with the sender's id of the event. It must be signed: name it in `signed`."),
    signed: z
      .string()
      .max(200)
      .default('{body}')
      .describe('For `hmac`: what is signed, with `{body}` (the bytes that came), `{timestamp}` and `{id}` in it.'),
    status_url: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe(
        'For `shotstack`: where the state of a job is read back, with `{id}` for its id. Without it: `https://api.shotstack.io/edit/v1/render/{id}`.',
      ),
    api_key: z
      .string()
      .min(8)
      .optional()
      .describe('For `shotstack`: the API key that this is asked with, as `${NAME}`.'),
  })
  .superRefine((value, context) => {
    const refuse = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    const isHmac = value.scheme === 'hmac';
    if (value.scheme === 'shotstack') {
      if (value.secrets.length > 0) refuse('secrets', 'shotstack signs nothing: leave the secrets out');
      if (value.api_key === undefined) refuse('api_key', 'shotstack is asked what became of a job: give its API key');
      if (value.status_url !== undefined && !value.status_url.replace('%7Bid%7D', '{id}').includes('{id}'))
        refuse('status_url', 'write {id} where the id of the job belongs');
    } else if (value.secrets.length === 0) refuse('secrets', 'without a secret nothing can be verified');
    if (value.scheme === 'standard-webhooks')
      for (const secret of value.secrets)
        if (!isStandardKey(secret))
          refuse(
            'secrets',
            `of Standard Webhooks a secret is base64 of ${webhookSecretBytesMin} bytes or more after whsec_, a public key that of 32 after whpk_`,
          );
    if (!isHmac) return;
    if (value.signature_header === undefined) refuse('signature_header', 'say which header has the signature');
    for (const [name, header] of [
      ['timestamp', value.timestamp_header],
      ['id', value.id_header],
    ] as const) {
      const isSigned = value.signed.includes(`{${name}}`);
      if (isSigned !== (header !== undefined))
        refuse('signed', `{${name}} and ${name}_header go together: what is not signed proves nothing`);
    }
    if (value.signed.split('{body}').length !== 2) refuse('signed', 'the body must be signed, once: write {body}');
  })
  .meta({
    id: 'webhook_source',
    title: 'Source of webhooks',
    description: 'Who may send webhooks to `POST /v1/webhooks/{source}`, and how what comes is verified.',
  });

function isStandardKey(text: string): boolean {
  const [, prefix = '', encoded = ''] = /^(whsec_|whpk_)?([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const { length } = Buffer.from(encoded, 'base64');
  return prefix === 'whpk_' ? length === 32 : length >= webhookSecretBytesMin;
}

/** The section `webhooks`. */
export const webhooks = z
  .strictObject({
    sources: z
      .record(sourceName, source)
      .default({})
      .refine((sources) => Object.keys(sources).length <= webhookSourcesMax, `${webhookSourcesMax} sources at most`)
      .describe('Who may send webhooks, each by the name that stands in its URL: `/v1/webhooks/{source}`.'),
  })
  .meta({
    id: 'webhooks',
    title: 'Webhooks that come in',
    description: 'What other systems may tell this gate, and how it is verified. Read again when the file changes.',
  });
