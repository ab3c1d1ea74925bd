import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { nameCharsMax } from '../../base/limits.ts';
import { publicWorkflowsMax, publicWorkflowsPerProjectMax } from '../../base/telemetry-limits.ts';
import { checkLine } from '../../identity/input.ts';
import type { Principal } from '../../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { requireProject } from '../../identity/references.ts';
import { controlWrite, type Tx } from '../../pg/tx.ts';
import { checkShownName } from '../prompts/shown-name.ts';
import {
  countPublished,
  findPublished,
  isTitleTaken,
  type PublishedWorkflow,
  selectPublished,
  writePublished,
  writeUnpublished,
} from './published-store.ts';

/** Says which workflows are on the public leaderboard. */
export class PublishedWorkflows {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Puts a workflow on the public leaderboard, or gives it another title there. The same again changes nothing.
   * @throws PortcullisError invalid_argument, not_found (the project), conflict (the title is another's, or too many)
   */
  async publish(
    by: Principal,
    requestId: string,
    asked: { readonly projectId: string; readonly workflow: string; readonly title: string },
  ): Promise<{ result: PublishedWorkflow; version: bigint }> {
    const { projectId } = asked;
    const workflow = checkLine('workflow', asked.workflow, 1, nameCharsMax);
    const title = checkShownName('title', asked.title);
    return controlWrite(this.#pool, async (tx, version) => {
      await requireProject(tx, projectId);
      const before = await findPublished(tx, projectId, workflow);
      if (before?.title === title) return before;
      // Control writes take turns: nobody takes the title, or the last place, in between.
      if (await isTitleTaken(tx, { projectId, workflow, title })) {
        throw new PortcullisError('conflict', `Another workflow is public as "${title}": choose another title.`, {
          param: 'title',
        });
      }
      if (!before) await requireRoom(tx, projectId);
      const published = await writePublished(tx, version, { projectId, workflow, title, publishedBy: by.id });
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'workflow.published',
        target: workflow,
        projectId,
        requestId,
        payload: { title, before: before?.title ?? null },
      });
      return published;
    });
  }

  /** Takes a workflow off it: on every replica as soon as that has read the change. @throws PortcullisError not_found */
  async unpublish(
    by: Principal,
    requestId: string,
    { projectId, workflow }: { readonly projectId: string; readonly workflow: string },
  ): Promise<{ result: PublishedWorkflow; version: bigint }> {
    return controlWrite(this.#pool, async (tx, version) => {
      const ended = await writeUnpublished(tx, version, projectId, workflow);
      if (!ended) {
        throw new PortcullisError('not_found', `The workflow "${workflow.slice(0, 100)}" is not public.`);
      }
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'workflow.unpublished',
        target: ended.workflow,
        projectId,
        requestId,
        payload: { title: ended.title },
      });
      return ended;
    });
  }

  /** Those of the project that are public, by name. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<PublishedWorkflow>> {
    return readPage(page, async (after, limit) =>
      (await selectPublished(this.#pool, projectId, after, limit)).map((one) => ({ ...one, id: one.workflow })),
    );
  }
}

/** No project takes all the places. @throws PortcullisError conflict */
async function requireRoom(tx: Tx, projectId: string): Promise<void> {
  const { ofProject, all } = await countPublished(tx, projectId);
  if (ofProject >= publicWorkflowsPerProjectMax) {
    const sentence = `${publicWorkflowsPerProjectMax} workflows of this project are public, which is the limit.`;
    throw new PortcullisError('conflict', sentence);
  }
  if (all < publicWorkflowsMax) return;
  throw new PortcullisError('conflict', `${publicWorkflowsMax} workflows are public, which is the limit.`);
}
