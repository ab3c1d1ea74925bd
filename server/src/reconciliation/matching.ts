import { isDeepStrictEqual } from 'node:util';
import { type Actor, appendAudit } from '../audit/append.ts';
import { formatUsd } from '../base/money.ts';
import { matchedDaysMax } from '../base/limits.ts';
import { findDefaultProject } from '../identity/project-store.ts';
import type { Tx } from '../pg/tx.ts';
import { dayAfter } from './calendar-day.ts';
import type { Booked, MatchedModel, ProviderDay, ReconciledDay, Tolerance } from './model.ts';
import { busiestProject, dayKey, matchDay } from './rules.ts';
import { bookedOf, currentFigures, currentMatches, declaredProjects, insertMatches } from './store.ts';

/** What came of matching some days. */
export interface Matched {
  /** How many days were matched. */
  readonly days: number;
  /** All their models, newest days first. */
  readonly rows: readonly ReconciledDay[];
}
