import { z } from 'zod';

/** An entry of `issuers`. */
export const issuer = z
  .strictObject({
    issuer: z.url().describe('The URL that its tokens have as `iss`, exactly.'),
    audience: z.array(z.string().min(1)).min(1).describe('Values of `aud` of which a token must have one.'),
    jwks_uri: z
      .url({ protocol: /^https?$/ })
      .describe('Where it publishes its keys. Production refuses http, except to this machine.'),
    algorithms: z
      .array(z.enum(['RS256', 'PS256', 'ES256', 'EdDSA']))
      .min(1)
      .optional()
      .describe('Signatures that are taken. Without it: all four.'),
    require_at_jwt: z
      .boolean()
      .default(false)
      .describe('Takes tokens of the type `at+jwt` (RFC 9068) alone. Turn it on where the issuer writes that type.'),
    client_id: z
      .string()
      .min(1)
      .optional()
      .describe('The client at the issuer: a token with no other audience is an ID token, and refused.'),
    project: z
      .string()
      .default('default')
      .describe('The project, by name, that its tokens belong to. It must exist when the gate starts.'),
    grant_admin: z
      .boolean()
      .default(false)
      .describe(
        'Lets its tokens carry `admin` and `admin:read`, which reach every project. For an issuer of the operators alone.',
      ),
    scope_claim: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe(
        'One more claim in which its tokens have scopes, such as `roles`, besides `scope`, `scp` and `permissions`.',
      ),
    max_lifetime_s: z
      .number()
      .int()
      .min(60)
      .max(604_800)
      .default(86_400)
      .describe('The longest life of a token that is taken, from `iat` to `exp`, in seconds.'),
  })
  .meta({ id: 'issuer', title: 'Issuer', description: 'A token issuer (OAuth 2.0, OpenID Connect) that is trusted.' });
