import type { DescEnum } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { budgetModes, budgetUnits, budgetWindows, providerTypes } from '../budget/model.ts';
import { usageGroups } from '../budget/usage-store.ts';
import { attemptOutcomes } from '../budget/usage-store-filter.ts';
import { AttemptOutcomeSchema, UsageGroupSchema } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  BudgetModeSchema,
  BudgetUnitSchema,
  BudgetWindowSchema,
  ProviderTypeSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import { DurabilitySchema, PersonRoleSchema, SignInMethodSchema } from '../gen/portcullis/v1/project_pb.ts';
import { KillScopeSchema } from '../gen/portcullis/v1/policy_pb.ts';
import { BillSourceSchema, MatchStateSchema } from '../gen/portcullis/v1/reconciliation_pb.ts';
import { RunStateSchema } from '../gen/portcullis/v1/run_pb.ts';
import { durabilities } from '../identity/records.ts';
import { roles } from '../identity/roles.ts';
import { killScopes } from '../policy/model.ts';
import { billSources, matchStates } from '../reconciliation/model.ts';
import { runOutcomes } from '../run/model.ts';
import { fromEnum, toEnum } from './enums.ts';

const pairs: readonly (readonly [DescEnum, readonly string[]])[] = [
  [KillScopeSchema, killScopes],
  [BudgetUnitSchema, budgetUnits],
  [BudgetWindowSchema, budgetWindows],
  [BudgetModeSchema, budgetModes],
  [ProviderTypeSchema, providerTypes],
  [UsageGroupSchema, usageGroups],
  [AttemptOutcomeSchema, attemptOutcomes],
  [DurabilitySchema, durabilities],
  [PersonRoleSchema, roles],
  [SignInMethodSchema, ['key', 'oidc']],
  [BillSourceSchema, billSources],
  [MatchStateSchema, matchStates],
  [RunStateSchema, ['running', ...runOutcomes]],
];

test.each(pairs)('%s has exactly our names, each of which comes back', (desc, names) => {
  expect(desc.values.map(({ localName }) => localName.toLowerCase())).toEqual(['unspecified', ...names]);
  for (const name of names) expect(fromEnum(desc, names, toEnum(desc, name), 'field')).toBe(name);
});

test('what is unspecified, unknown or not allowed here is refused by the name of its field', () => {
  for (const number of [0, 1, 99, -1]) {
    expect(() => fromEnum(RunStateSchema, runOutcomes, number, 'outcome')).toThrow(
      'outcome must be one of succeeded, failed, cancelled.',
    );
  }
  expect(() => toEnum(RunStateSchema, 'lost')).toThrow(/no value for "lost"/);
});
