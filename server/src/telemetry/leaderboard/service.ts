import type { Pool } from 'pg';
import {
  boardDaysDefault,
  boardDaysMax,
  boardEntriesMax,
  boardRunsMinDefault,
  comparedRunsMax,
} from '../../base/telemetry-limits.ts';
import { invalid } from '../../identity/input.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { requirePromptVersion } from '../prompts/service.ts';
import type { PromptVersion } from '../prompts/model.ts';
import { type BoardScope, selectWorkflows, sumVersions } from './board-store.ts';
import { type Comparison, comparePaired } from './comparison.ts';
import { sumTasks, type VersionTasks } from './comparison-store.ts';
import { type BoardEntry, scoreParts, type Weights } from './model.ts';
import { measureVersion } from './measures.ts';
import { rankVersions } from './rules.ts';

const weightMax = 1_000;

export interface BoardRequest {
  readonly projectId: string;
  readonly workflow: string;
  /** 0 is the default. */
  readonly windowDays: number;
  readonly model: string | null;
  readonly byModel: boolean;
  readonly weights: Weights;
  /** Null is the default. */
  readonly runsMin: number | null;
}

export interface Board {
  readonly windowDays: number;
  readonly runsMin: number;
  readonly weights: Weights;
  readonly entries: readonly BoardEntry[];
  /** There are more versions than a board has; those with the fewest runs are left out. */
  readonly isCut: boolean;
}

export interface ComparisonRequest extends Pick<BoardRequest, 'projectId' | 'workflow' | 'windowDays' | 'model'> {
  /** Digests or labels. */
  readonly first: string;
  readonly second: string;
}

export interface ComparedVersion extends Omit<VersionTasks, 'tasks'> {
  readonly version: PromptVersion;
}

export interface ComparedVersions extends Comparison {
  readonly windowDays: number;
  readonly first: ComparedVersion;
  readonly second: ComparedVersion;
}

/** Tells which prompt is better. */
export class Leaderboard {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** What it costs depends on days and versions, not on runs. @throws PortcullisError invalid_argument */
  async board(request: BoardRequest): Promise<Board> {
    const { byModel, weights } = request;
    const scope = scopeOf(request);
    const runsMin = request.runsMin ?? boardRunsMinDefault;
    requireWeights(weights);
    const versions = await sumVersions(this.#pool, scope, byModel, boardEntriesMax + 1);
    const isCut = versions.length > boardEntriesMax;
    const entries = rankVersions(versions.slice(0, boardEntriesMax).map(measureVersion), weights, runsMin);
    return { windowDays: scope.windowDays, runsMin, weights, entries, isCut };
  }

  /**
   * Compares two versions over the tasks that both tried.
   * @throws PortcullisError invalid_argument, not_found
   */
  async compare(request: ComparisonRequest): Promise<ComparedVersions> {
    const { projectId, workflow } = request;
    const scope = scopeOf(request);
    const first = await requirePromptVersion(this.#pool, projectId, workflow, request.first);
    const second = await requirePromptVersion(this.#pool, projectId, workflow, request.second);
    if (first.digest === second.digest) {
      throw invalid('second', 'second must be another version than first: a version is as good as itself.');
    }
    const one = await sumTasks(this.#pool, scope, first.digest, comparedRunsMax);
    const other = await sumTasks(this.#pool, scope, second.digest, comparedRunsMax);
    return {
      ...comparePaired(one.tasks, other.tasks),
      windowDays: scope.windowDays,
      first: { ...one, version: first },
      second: { ...other, version: second },
    };
  }

  /** Workflows of which runs ended, by name. @throws PortcullisError invalid_argument */
  workflows(projectId: string, page: PageRequest): Promise<Page<{ readonly id: string }>> {
    return readPage(page, async (after, limit) =>
      (await selectWorkflows(this.#pool, projectId, after, limit)).map((workflow) => ({ id: workflow })),
    );
  }
}

/** @throws PortcullisError invalid_argument */
function scopeOf({ projectId, workflow, windowDays, model }: BoardScope): BoardScope {
  const days = windowDays === 0 ? boardDaysDefault : windowDays;
  if (!Number.isInteger(days) || days < 1 || days > boardDaysMax) {
    throw invalid('window_days', `window_days must be a whole number from 1 to ${boardDaysMax}.`);
  }
  return { projectId, workflow, windowDays: days, model };
}

/** @throws PortcullisError invalid_argument */
function requireWeights(weights: Weights): void {
  const values = scoreParts.map((part) => weights[part]);
  if (values.every((weight) => weight >= 0 && weight <= weightMax) && values.some((weight) => weight > 0)) return;
  throw invalid('weights', `weights must be numbers from 0 to ${weightMax}, and not all of them 0.`);
}
