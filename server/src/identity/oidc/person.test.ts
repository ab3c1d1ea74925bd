import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import { operator, seedProject } from '../../../../test/support/ledger.ts';
import { teamsPerPersonMax } from '../../base/limits.ts';
import { PersonService } from '../person-service.ts';
import { findPerson } from '../person-store.ts';
import { SessionService } from '../sessions/service.ts';
import { TeamService } from '../team-service.ts';
import type { ClaimRules, Newcomer } from './model.ts';
import { admitPerson } from './person.ts';

const { projectId } = operator;
const rules: ClaimRules = {
  groupsClaim: 'groups',
  roles: { staff: ['developer'] },
  teams: { staff: 'Ruled' },
  emailDomains: null,
  trustEmail: false,
};
const ada: Newcomer = {
  issuer: 'https://id.example',
  subject: 'sub-1',
  email: 'ada@example.com',
  name: 'Ada',
  roles: ['developer'],
  teams: [],
};

let db: TestDatabase;
let personId: string;
beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  const { result } = await admit(ada);
  personId = 'personId' in result ? result.personId : '';
});
afterAll(() => db.drop());

const admit = (newcomer: Newcomer) => admitPerson(db.pool, newcomer, rules, { projectId, requestId: 'req_1' });

it('has at most a hundred teams, of which those of the rules come first', async () => {
  const service = new TeamService(db.pool);
  const teams: string[] = [];
  for (let number = 0; number < teamsPerPersonMax; number++)
    teams.push((await service.create(operator, 'req_1', { projectId, name: `By hand ${number}` })).result.id);
  await new PersonService(db.pool).update(operator, 'req_1', { projectId, id: personId, teams });
  await admit({ ...ada, teams: ['Ruled'] });
  const person = await findPerson(db.pool, projectId, personId);
  const [ruled] = await queryAsOwner<{ id: string }>(db, `SELECT id FROM teams WHERE name = 'Ruled'`);
  expect(person?.teams).toHaveLength(teamsPerPersonMax);
  expect(person?.teams).toContain(ruled?.id);
});

it('writes down each session that ends since its person has no role any more', async () => {
  const sessions = new SessionService(db.pool, createSecretKey(randomBytes(32)));
  const principal = { ...operator, id: personId, personId };
  const { issuer, subject } = ada;
  const visit = { requestId: 'req_2', clientAddress: '192.0.2.1', userAgent: '', token: null };
  for (let count = 0; count < 2; count++) await sessions.start({ method: 'oidc', principal, issuer, subject }, visit);
  expect((await admit({ ...ada, roles: [] })).result).toHaveProperty('refused');
  const rows = await queryAsOwner(
    db,
    `SELECT payload->>'how' AS how FROM audit_entries WHERE action = 'session.ended' AND payload->>'of' = $1`,
    [personId],
  );
  expect(rows).toEqual([{ how: 'no_role' }, { how: 'no_role' }]);
});
