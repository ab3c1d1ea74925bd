import { isDeepStrictEqual } from 'node:util';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import type { AuditAction } from '../../audit/actions.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { teamsPerPersonMax } from '../../base/limits.ts';
import { controlWrite, type Queryable, type Tx } from '../../pg/tx.ts';
import { endLoginsOfPerson } from '../logins/issue.ts';
import { changeable } from '../person-service.ts';
import { findPersonByEmail, findPersonBySubject, insertPerson, recordSignIn, updatePerson } from '../person-store.ts';
import type { PersonRecord } from '../records.ts';
import { endSessionsOf } from '../sessions/ending.ts';
import { createTeam } from '../team-service.ts';
import { findTeamsByName } from '../team-store.ts';
import { refusal } from './claims.ts';
import type { ClaimRules, Newcomer } from './model.ts';

const noRole =
  'You are known, but none of your groups at the identity provider gives you a role here: ask an administrator to let you in.';

/**
 * The person who signed in, as the identity provider says now: made when they come first, brought up to date when they come
 * again. Somebody without a role may not enter, is made or linked to nobody, and what they had ends.
 *
 * A person is found by issuer and subject alone. An address leads to a person who was made by hand and never signed
 * in: the provider that may give roles may say whose address it is, and it says that it is verified.
 * @returns who they are, or why they may not enter, in words for them; and the version from which a replica knows of it
 */
export async function admitPerson(
  pool: Pool,
  newcomer: Newcomer,
  rules: ClaimRules,
  { projectId, requestId }: { readonly projectId: string; readonly requestId: string },
): Promise<{ result: { readonly personId: string } | { readonly refused: PortcullisError }; version: bigint }> {
  return controlWrite(pool, async (tx, version) => {
    const before = await findPersonOf(tx, projectId, newcomer);
    if (before instanceof PortcullisError) return { refused: before };
    if (before?.state === 'disabled') return { refused: disabled() };
    const isKnown = before !== null && before.subject !== null;
    if (!isKnown && newcomer.roles.length === 0) return { refused: refusal('role', noRole) };
    const person = before ?? (await makePerson(tx, version, newcomer, { projectId, requestId }));
    const after: PersonRecord = {
      ...person,
      ...(await freeEmail(tx, person, newcomer.email)),
      name: newcomer.name,
      roles: newcomer.roles,
      teams: await teamsOf(tx, person, newcomer, rules, requestId),
      issuer: newcomer.issuer,
      subject: newcomer.subject,
    };
    if (!isDeepStrictEqual(after, person)) {
      await updatePerson(tx, version, after);
      const change = { before: changeable(person), after: changeable(after) };
      await audit(tx, 'person.updated', person, requestId, change);
    }
    if (newcomer.roles.length > 0) {
      await recordSignIn(tx, person.id);
      return { personId: person.id };
    }
    await endSessionsOf(tx, person.id, 0, { actor: { kind: 'operator', id: person.id }, requestId, how: 'no_role' });
    await endLoginsOfPerson(tx, version, person.id);
    // Returned, not thrown: what they had has ended.
    return { refused: refusal('role', noRole) };
  });
}

async function findPersonOf(
  db: Queryable,
  projectId: string,
  newcomer: Newcomer,
): Promise<PersonRecord | PortcullisError | null> {
  const known = await findPersonBySubject(db, projectId, newcomer.issuer, newcomer.subject);
  if (known) return known;
  const namesake = await findPersonByEmail(db, projectId, newcomer.email);
  if (!namesake || namesake.subject === null) return namesake;
  return refusal(
    'email_taken',
    `Somebody else signed in here with the address ${newcomer.email} before: ask an administrator which of the two accounts is yours.`,
  );
}

async function makePerson(
  tx: Tx,
  version: bigint,
  { email, name }: Newcomer,
  { projectId, requestId }: { readonly projectId: string; readonly requestId: string },
): Promise<PersonRecord> {
  const person = await insertPerson(tx, version, { id: newId('psn'), projectId, email, name });
  await audit(tx, 'person.created', person, requestId, { email, name });
  return person;
}

/** An address follows the provider's, unless another person has it. */
async function freeEmail(db: Queryable, person: PersonRecord, email: string): Promise<{ email?: string }> {
  if (email === person.email || (await findPersonByEmail(db, person.projectId, email))) return {};
  return { email };
}

/** Teams that the rules name follow them, and are made when they are missing; what somebody gave by hand besides stays, as far as there is room. */
async function teamsOf(
  tx: Tx,
  { id, projectId, teams }: PersonRecord,
  newcomer: Newcomer,
  rules: ClaimRules,
  requestId: string,
): Promise<string[]> {
  const ruled = await findTeamsByName(tx, projectId, Object.values(rules.teams));
  const kept = teams.filter((team) => !ruled.some((one) => one.id === team));
  const given = ruled.filter(({ name }) => newcomer.teams.includes(name));
  for (const name of newcomer.teams) {
    if (given.some((team) => team.name === name)) continue;
    given.push(await createTeam(tx, { kind: 'operator', id }, requestId, { projectId, name }));
  }
  return [...new Set([...given.map((team) => team.id), ...kept])].slice(0, teamsPerPersonMax).toSorted();
}

function disabled() {
  return refusal('disabled', 'Your account here is disabled: ask an administrator to enable it.');
}

function audit(
  tx: Tx,
  action: Extract<AuditAction, 'person.created' | 'person.updated'>,
  { id, projectId }: PersonRecord,
  requestId: string,
  payload: Parameters<typeof appendAudit>[1]['payload'],
): Promise<void> {
  const actor = { kind: 'operator', id } as const;
  return appendAudit(tx, { actor, action, target: id, projectId, requestId, payload });
}
