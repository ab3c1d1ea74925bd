import { z } from 'zod';

/** As identity/roles.ts has them; a test compares the two. */
export const roleNames = ['admin', 'operator', 'approver', 'auditor', 'developer'] as const;

const group = z.string().min(1).max(300);
const teamName = z
  .string()
  .min(1)
  .max(100)
  .regex(
    /^(?!team_)(?! )[^\p{C}\p{Zl}\p{Zp}]*(?<! )$/u,
    'the name of a team is one line, and does not begin with team_',
  );

/** The section `sign_in`. */
export const signIn = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(60)
      .default('single sign-on')
      .describe('What the button on the sign-in page calls the identity provider.'),
    issuer: z
      .url({ protocol: /^https?$/ })
      .describe(
        'The identity provider, by its exact issuer; its metadata is read from `/.well-known/openid-configuration` below it. Production refuses http, except to this machine.',
      ),
    client_id: z.string().min(1).max(300).describe('The client that is registered there for this gate.'),
    client_secret: z
      .string()
      .min(1)
      .optional()
      .describe('The secret of that client, as `${NAME}`. Without it: a public client, which PKCE alone protects.'),
    client_auth: z
      .enum(['basic', 'post'])
      .default('basic')
      .describe('How the secret is sent: in a header, or in the form. Change it where the provider insists.'),
    scopes: z
      .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'a scope has no blanks'))
      .refine((scopes) => scopes.includes('openid'), 'openid must be among them')
      .default(['openid', 'email', 'profile'])
      .describe('What is asked of the provider. Some give groups only for a scope of their own, such as `groups`.'),
    groups_claim: z
      .string()
      .min(1)
      .max(200)
      .default('groups')
      .describe('The claim that has the groups of a person, by its name or as a path like `realm_access.roles`.'),
    roles: z
      .record(group, z.array(z.enum(roleNames)).min(1))
      .describe('Roles by group: `{ platform-admins: [admin] }`. Who is in none of these groups may not enter.'),
    teams: z
      .record(group, teamName)
      .default({})
      .describe('Teams by group: `{ eng-payments: Payments }`. They are made when somebody comes who belongs to one.'),
    project: z
      .string()
      .default('default')
      .describe('The project, by name, that these people belong to. It must exist when the gate starts.'),
    email_domains: z
      .array(z.string().regex(/^[a-z0-9.-]+$/, 'write a domain in lower case, like example.com'))
      .min(1)
      .optional()
      .describe('Takes addresses of these domains alone. Without it: of any.'),
    trust_email: z
      .boolean()
      .default(false)
      .describe(
        'Takes an address of which the provider does not say whether it is verified, as Entra and some others do not. For a provider that gives addresses out itself.',
      ),
  })
  .meta({
    id: 'sign_in',
    title: 'Sign-in',
    description: 'Where people sign in with OpenID Connect, and what their groups there make of them here.',
  });
