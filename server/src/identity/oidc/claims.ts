import { PortcullisError } from '../../base/errors.ts';
import { nameCharsMax, teamsPerPersonMax } from '../../base/limits.ts';
import { checkEmail } from '../input.ts';
import { isRole, roles } from '../roles.ts';
import type { ClaimRules, Newcomer } from './model.ts';

export type Claims = Readonly<Record<string, unknown>>;

/**
 * The claims of an ID token and of userinfo. What both say, the ID token says first: it is signed. But an address and
 * whether it is verified are of one of the two: it is no other address that was verified.
 */
export function joinClaims(idToken: Claims, userinfo: Claims): Claims {
  const withEmail = [idToken, userinfo].filter((claims) => claims['email'] !== undefined);
  const source = withEmail.find((claims) => claims['email_verified'] !== undefined) ?? withEmail[0];
  const { email, email_verified: verified } = source ?? {};
  return { ...userinfo, ...idToken, email, email_verified: verified };
}

// OpenID Connect Core 1.0, section 2: at most 255 characters of ASCII.
const subjectPattern = /^[\x20-\x7e]{1,255}$/;

/**
 * Who a person is by the claims of their ID token and of userinfo. Groups become roles and teams; what a rule does not name
 * counts for nothing.
 * @param claims those of an ID token that was verified, so that `iss` is the provider as it calls itself
 * @throws PortcullisError policy_denied, in words for the person
 */
export function readNewcomer(claims: Claims, rules: ClaimRules): Newcomer {
  const { iss, sub } = claims;
  if (typeof iss !== 'string' || typeof sub !== 'string' || !subjectPattern.test(sub)) {
    throw refusal(
      'subject',
      'The identity provider does not say who you are: its claim sub must be 1 to 255 characters of ASCII. Ask an administrator.',
    );
  }
  const email = readEmail(claims, rules);
  const groups = groupsIn(claims, rules.groupsClaim);
  const given = new Set(groups.flatMap((group) => own(rules.roles, group) ?? []).filter(isRole));
  const teams = new Set(groups.flatMap((group) => own(rules.teams, group) ?? []));
  return {
    issuer: iss,
    subject: sub,
    email,
    name: readName(claims) ?? email.slice(0, nameCharsMax),
    roles: roles.filter((role) => given.has(role)),
    teams: [...teams].toSorted().slice(0, teamsPerPersonMax),
  };
}

/** A refusal of a person whom the identity provider knows: they are told why. */
export function refusal(rule: string, sentence: string): PortcullisError {
  return new PortcullisError('policy_denied', sentence, { rule: `sign_in.${rule}` });
}

function readEmail({ email: claim, email_verified: verified }: Claims, rules: ClaimRules): string {
  if (typeof claim !== 'string') {
    throw refusal(
      'email',
      'The identity provider gave no e-mail address: its administrator must release the claim email.',
    );
  }
  // Some providers write booleans as text.
  const isVerified = verified === true || verified === 'true' || (verified === undefined && rules.trustEmail);
  if (!isVerified) {
    throw refusal(
      'email_verified',
      'The identity provider has not verified your e-mail address: verify it there, then sign in again.',
    );
  }
  // Beyond ASCII there are look-alikes of other people's addresses.
  if (/[^\x20-\x7e]/.test(claim)) {
    throw refusal(
      'email',
      'The identity provider gave an e-mail address with characters that are not ASCII, by which nobody signs in here.',
    );
  }
  let email: string;
  try {
    email = checkEmail(claim);
  } catch {
    throw refusal('email', 'The identity provider gave something that is no e-mail address.');
  }
  const domain = email.slice(email.lastIndexOf('@') + 1);
  if (rules.emailDomains !== null && !rules.emailDomains.includes(domain)) {
    throw refusal(
      'email_domain',
      `Addresses of ${domain} may not sign in here: use the account of your work, or ask an administrator.`,
    );
  }
  return email;
}

/** A name that can be shown; null where there is none. */
function readName({ name, preferred_username: username }: Claims): string | null {
  for (const claim of [name, username]) {
    if (typeof claim !== 'string') continue;
    // Lone surrogates are of \p{C} too.
    const whole = claim.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '').trim();
    const line = Array.from(whole).slice(0, nameCharsMax).join('').trim();
    if (line !== '') return line;
  }
  return null;
}

/** The groups of a claim, which may be one text or a list. Its name may have dots in it (a URL, say), which goes before a path. */
function groupsIn(claims: Claims, claim: string): string[] {
  const value =
    own(claims, claim) ??
    claim.split('.').reduce<unknown>((found, name) => (isRecord(found) ? own(found, name) : undefined), claims);
  const groups = Array.isArray(value) ? value : [value];
  return groups.filter((group) => typeof group === 'string');
}

/** What a provider names is no member that every object has. */
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function isRecord(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null;
}
