import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { roleNames } from '../config/sign-in-schema.ts';
import { PersonRoleSchema } from '../gen/portcullis/v1/project_pb.ts';
import { isRole, roles, roleScopes, scopesOfRoles } from './roles.ts';

it('roles are the same in the contract, in the configuration and in what people read', () => {
  expect(roleNames).toEqual(roles);
  expect(PersonRoleSchema.values.slice(1).map(({ localName }) => localName.toLowerCase())).toEqual([...roles]);
  const page = readFileSync(join(import.meta.dirname, '../../../docs/sign-in.md'), 'utf8');
  for (const role of roles) {
    const listed = roleScopes[role].map((scope) => `\`${scope}\``).join(', ');
    expect(page).toMatch(new RegExp(`\\| \`${role}\` +\\| ${listed} +\\|`));
  }
});

it('a person has the scopes of all their roles together, and none without a role', () => {
  expect(scopesOfRoles([])).toEqual(new Set());
  expect(scopesOfRoles(['approver', 'auditor'])).toEqual(
    new Set(['approvals:decide', 'policy:read', 'runs:read', 'telemetry:read', 'tasks:read', 'admin:read']),
  );
});

it('is named exactly', () => {
  expect(['admin', 'Admin', 'constructor', ''].map(isRole)).toEqual([true, false, false, false]);
});
