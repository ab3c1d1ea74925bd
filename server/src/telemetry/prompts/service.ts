import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { promptVersionsPerWorkflowMax } from '../../base/telemetry-limits.ts';
import type { Principal } from '../../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { permits } from '../../identity/permission.ts';
import { requireProject } from '../../identity/references.ts';
import { inTransaction, type Queryable, type Tx } from '../../pg/tx.ts';
import { checkPromptVersion, isDigest, labelOfDisplaced, type PromptVersion } from './model.ts';
import {
  countPromptVersions,
  findByDigest,
  findByLabel,
  insertPromptVersion,
  selectPromptVersions,
  writeLabel,
} from './store.ts';

interface NewPromptVersion {
  readonly projectId: string;
  readonly workflow: string;
  readonly label: string;
  readonly notes: string;
  readonly digest: string;
}

/** Registers and finds versions of prompts. */
export class PromptVersions {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Registers a version of a workflow's prompt. The same content under the same label is the same version, and stays as it
   * was registered first. Who may publish a workflow confirms the label by it, which strangers may see from then on; of what
   * nobody confirmed they may take the content under their own label, and the label for their own content.
   * @throws PortcullisError invalid_argument, not_found (the project), conflict (another label for the content, another
   * content for the label, or too many versions)
   */
  async register(by: Principal, requestId: string, asked: NewPromptVersion): Promise<PromptVersion> {
    const { projectId } = asked;
    const version = { projectId, ...checkPromptVersion(asked) };
    return inTransaction(this.#pool, async (tx) => {
      await requireProject(tx, projectId);
      const isLabelConfirmed = mayConfirm(by);
      const registered = { ...version, id: newId('prm'), registeredBy: by.id, isLabelConfirmed };
      const audit: Audit = (action, { id, workflow, label, digest }) =>
        appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action,
          target: id,
          projectId,
          requestId,
          payload: { workflow, label, digest },
        });
      if (isLabelConfirmed) await displace(tx, version, audit);
      const inserted = await insertPromptVersion(tx, registered);
      const before = inserted ?? (await registeredBefore(tx, version, isLabelConfirmed));
      const changed = inserted ?? (isLabelConfirmed ? await writeLabel(tx, { ...registered, id: before.id }) : null);
      if (!changed) return before;
      await requireRoom(tx, changed);
      await audit(inserted ? 'prompt.registered' : 'prompt.confirmed', changed);
      return changed;
    });
  }

  /** @param version its digest or its label @throws PortcullisError not_found */
  get(projectId: string, workflow: string, version: string): Promise<PromptVersion> {
    return requirePromptVersion(this.#pool, projectId, workflow, version);
  }

  /** Newest first. @param workflow null is every workflow of the project @throws PortcullisError invalid_argument */
  list(projectId: string, workflow: string | null, page: PageRequest): Promise<Page<PromptVersion>> {
    return readPage(page, (beforeId, limit) => selectPromptVersions(this.#pool, projectId, workflow, beforeId, limit));
  }
}

/** @param version its digest or its label @throws PortcullisError not_found */
export async function requirePromptVersion(
  db: Queryable,
  projectId: string,
  workflow: string,
  version: string,
): Promise<PromptVersion> {
  const found = isDigest(version)
    ? await findByDigest(db, { projectId, workflow, digest: version.toLowerCase() })
    : await findByLabel(db, { projectId, workflow, label: version });
  if (found) return found;
  throw new PortcullisError(
    'not_found',
    `The workflow "${workflow.slice(0, 100)}" has no prompt version "${version.slice(0, 100)}": register it first.`,
  );
}

/** Whose word makes a label public: who may publish workflows, and is no agent. */
function mayConfirm(by: Principal): boolean {
  return by.kind !== 'agent' && permits(by, 'policy:write');
}

type Asked = Pick<PromptVersion, 'projectId' | 'workflow' | 'digest' | 'label'>;
type Audit = (
  action: 'prompt.registered' | 'prompt.confirmed' | 'prompt.displaced',
  version: PromptVersion,
) => Promise<unknown>;

/** Another content that nobody confirmed gives up the label. */
async function displace(tx: Tx, asked: Asked, audit: Audit): Promise<void> {
  const other = await findByLabel(tx, asked);
  if (!other || other.digest === asked.digest) return;
  const label = labelOfDisplaced(other.digest);
  const displaced = await writeLabel(tx, { id: other.id, label, isLabelConfirmed: false });
  if (displaced) await audit('prompt.displaced', displaced);
}

/**
 * The version that is registered for the content, under the label that was asked for or one that may be changed.
 * @throws PortcullisError conflict
 */
async function registeredBefore(tx: Tx, asked: Asked, mayRename: boolean): Promise<PromptVersion> {
  const other = await findByLabel(tx, asked);
  if (other && other.digest !== asked.digest) {
    throw new PortcullisError(
      'conflict',
      `"${other.label}" is the label of another content (SHA-256 ${other.digest.slice(0, 12)}…): choose another one.`,
      { param: 'label' },
    );
  }
  const same = await findByDigest(tx, asked);
  if (same && (same.label === asked.label || (mayRename && !same.isLabelConfirmed))) return same;
  throw new PortcullisError('conflict', `This content is registered for the workflow as "${same?.label}" already.`, {
    param: 'label',
  });
}

/** Those that nobody confirmed take no place of the others. @throws PortcullisError conflict */
async function requireRoom(tx: Tx, version: PromptVersion): Promise<void> {
  if ((await countPromptVersions(tx, version)) <= promptVersionsPerWorkflowMax) return;
  const kind = version.isLabelConfirmed ? 'with' : 'without';
  throw new PortcullisError(
    'conflict',
    `This workflow has ${promptVersionsPerWorkflowMax} versions of its prompt ${kind} a confirmed label, which is the limit: use another workflow.`,
  );
}
