import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { AuditAction } from '../audit/actions.ts';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { policyDraftsMax, reasonCharsMax } from '../base/limits.ts';
import { checkLine } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { requireProject } from '../identity/references.ts';
import { controlWrite, type Queryable, type Tx } from '../pg/tx.ts';
import {
  type CapJson,
  checkDocument,
  documentDigest,
  documentFromJson,
  documentToJson,
  emptyDocument,
  type PolicyDocument,
  readableDocument,
} from './document.ts';
import { diffDocuments, type DocumentDiff } from './document-diff.ts';
import {
  findState,
  findVersion,
  findVersionBy,
  insertVersion,
  type PolicyState,
  saveState,
  selectVersions,
  type StoredVersion,
  type VersionHead,
} from './version-store.ts';

export type Stage = 'draft' | 'shadow' | 'enforced';

/** The budgets that caps are (budget/policy-caps.ts). */
export interface CapBudgets {
  /** @throws PortcullisError for a cap that cannot be put in force */
  readonly checkCaps: (tx: Tx, projectId: string, caps: readonly CapJson[]) => Promise<void>;
  /** Makes the budgets of a project that its policy owns be these. @throws PortcullisError */
  readonly enforceCaps: (
    tx: Tx,
    version: bigint,
    caps: { readonly projectId: string; readonly caps: readonly CapJson[]; readonly by: Principal },
  ) => Promise<void>;
}

/** What a policy is after a change, or when it is read. */
export interface PolicyAnswer {
  readonly state: PolicyState;
  readonly version: StoredVersion | null;
}

interface Change {
  readonly by: Principal;
  readonly requestId: string;
  readonly projectId: string;
  /** The etag of what it was made from; null does not look. */
  readonly etag: string | null;
}

interface Written {
  readonly result: PolicyAnswer;
  /** The control version from which replicas obey it. */
  readonly version: bigint;
}

/** What is known within the transaction of a change. */
interface Changing extends Change {
  readonly tx: Tx;
  readonly controlVersion: bigint;
  readonly state: PolicyState;
  /** The version in force. Its document may be one that this server cannot read, which must not keep anybody from replacing it. */
  readonly inForce: StoredVersion | null;
}

/** What a rollback restores that goes back to before the first version: no rules and caps. */
const noVersionYet = 0;

const noState: PolicyState = {
  inForce: null,
  previous: null,
  shadow: null,
  lastVersion: 0,
  revision: 0n,
  changedBy: '',
};

/** The etag of a policy as it stands: names its last change. */
export function etagOf({ revision }: PolicyState): string {
  return revision.toString();
}

/** Makes versions of policies, and puts them in force. */
export class PolicyVersions {
  readonly #pool: Pool;
  readonly #caps: CapBudgets;

  constructor(pool: Pool, caps: CapBudgets) {
    this.#pool = pool;
    this.#caps = caps;
  }

  /** @param version null for the one in force @throws PortcullisError not_found */
  async get(projectId: string, version: number | null): Promise<PolicyAnswer> {
    const state = (await findState(this.#pool, projectId)) ?? noState;
    const wanted = version ?? state.inForce;
    if (wanted === null) return { state, version: null };
    const found = await findVersion(this.#pool, projectId, wanted);
    if (found === null) throw noVersion(wanted);
    return { state, version: found };
  }

  /** Newest first. @throws PortcullisError invalid_argument */
  async list(projectId: string, page: PageRequest): Promise<{ state: PolicyState; page: Page<VersionHead> }> {
    const state = (await findState(this.#pool, projectId)) ?? noState;
    return {
      state,
      page: await readPage(page, async (before, limit) => {
        const versions = await selectVersions(this.#pool, projectId, before === null ? null : Number(before), limit);
        return versions.map((version) => ({ ...version, id: String(version.version) }));
      }),
    };
  }

  /**
   * Makes a version. The document that is in force already makes no other.
   * @throws PortcullisError invalid_argument, conflict (etag, or the name of a cap), not_found (what a cap names)
   */
  async set(change: Change & { readonly document: PolicyDocument; readonly stage: Stage; readonly note: string }) {
    const { document } = await checkDocument(change.document);
    const note = checkLine('note', change.note, 0, reasonCharsMax);
    return this.#write(change, (changing) => this.#add(changing, { document, note, stage: change.stage }));
  }

  /**
   * Makes a version of the document in force with something changed, and puts it in force.
   * @throws PortcullisError what `edit` throws, invalid_argument, conflict, not_found
   */
  async edit(change: Change & { readonly note: string; readonly edit: (document: PolicyDocument) => PolicyDocument }) {
    const note = checkLine('note', change.note, 0, reasonCharsMax);
    const edited = async (inForce: StoredVersion | null) => {
      const document = inForce === null ? emptyDocument : documentFromJson(inForce.document);
      return (await checkDocument(change.edit(document))).document;
    };
    // Before the lock that all changes of control state wait for; again only where another one came in between.
    const seen = await this.get(change.projectId, null);
    await requireEtag(this.#pool, change, seen.state);
    const prepared = await edited(seen.version);
    return this.#write(change, async (changing) => {
      const { state, inForce } = changing;
      const document = state.revision === seen.state.revision ? prepared : await edited(inForce);
      return this.#add(changing, { document, note, stage: 'enforced' });
    });
  }

  /**
   * Moves a version to a stage.
   * @throws PortcullisError not_found, conflict (etag, or it is older than the one in force)
   */
  promote(change: Change & { readonly version: number; readonly stage: Stage }) {
    return this.#write(change, async (changing) => {
      const { state, tx, projectId } = changing;
      const version = await requireVersion(tx, projectId, change.version);
      if (stageOf(version, state) === change.stage) return { state, version };
      if (change.stage === 'enforced') {
        requireNewer(version, state);
        return this.#putInForce(changing, version, documentFromJson(version.document));
      }
      return { state: await moveToStage(changing, version, change.stage), version };
    });
  }

  /**
   * Puts the document of a version in force again, as a new version; of null that of the one that was in force before, or no
   * rules and caps where there was none.
   * @throws PortcullisError not_found, conflict (etag, or a rollback is in force and no version is named)
   */
  rollback(change: Change & { readonly version: number | null; readonly note: string }) {
    const note = checkLine('note', change.note, 0, reasonCharsMax);
    return this.#write(change, async (changing) => {
      const { tx, projectId, state, inForce } = changing;
      if (inForce === null) throw new PortcullisError('not_found', 'No policy is in force: there is nothing to undo.');
      if (change.version === null) requireNoRollback(inForce);
      const restoredVersion = change.version ?? state.previous ?? noVersionYet;
      const document =
        restoredVersion === noVersionYet
          ? emptyDocument
          : documentFromJson((await requireVersion(tx, projectId, restoredVersion)).document);
      return this.#add(changing, { document, note, stage: 'enforced', restoredVersion });
    });
  }

  #write(change: Change, work: (changing: Changing) => Promise<PolicyAnswer>): Promise<Written> {
    const { projectId } = change;
    return controlWrite(this.#pool, async (tx, controlVersion) => {
      await requireProject(tx, projectId);
      const state = (await findState(tx, projectId)) ?? noState;
      await requireEtag(tx, change, state);
      const inForce = state.inForce === null ? null : await requireVersion(tx, projectId, state.inForce);
      return work({ ...change, tx, controlVersion, state, inForce });
    });
  }

  async #add(
    changing: Changing,
    made: { document: PolicyDocument; note: string; stage: Stage; restoredVersion?: number | null },
  ): Promise<PolicyAnswer> {
    const { tx, projectId, by, state, inForce } = changing;
    const { document, note, stage, restoredVersion = null } = made;
    const digest = documentDigest(document);
    if (stage === 'enforced' && inForce?.digest.equals(digest)) return { state, version: inForce };
    const same = stage === 'enforced' ? null : await findVersionBy(tx, projectId, digest, state.inForce ?? 0);
    if (same !== null) {
      return { state: stage === 'draft' ? state : await moveToStage(changing, same, stage), version: same };
    }
    if (stage !== 'enforced') requireFewDrafts(state);
    await this.#caps.checkCaps(tx, projectId, document.caps);
    const version = await insertVersion(tx, projectId, {
      version: state.lastVersion + 1,
      document: documentToJson(document),
      digest,
      ruleCount: document.rules.length,
      capCount: document.caps.length,
      authorId: by.id,
      authorName: by.name,
      note,
      restoredVersion,
    });
    await audit(changing, 'policy.version_created', version, {
      ...payloadOf(changing, version, document),
      stage,
      note,
    });
    const added = { ...changing, state: { ...state, lastVersion: version.version } };
    if (stage === 'enforced') return this.#putInForce(added, version, document);
    return { state: await moveToStage(added, version, stage), version };
  }

  async #putInForce(changing: Changing, version: StoredVersion, document: PolicyDocument): Promise<PolicyAnswer> {
    const { tx, controlVersion, projectId, by, state } = changing;
    await this.#caps.enforceCaps(tx, controlVersion, { projectId, caps: document.caps, by });
    await audit(changing, 'policy.put_in_force', version, payloadOf(changing, version, document));
    const shadow = state.shadow === version.version ? null : state.shadow;
    return {
      state: await save(changing, { ...state, inForce: version.version, previous: state.inForce, shadow }),
      version,
    };
  }
}

/** Puts a version in shadow, or takes it out. */
async function moveToStage(changing: Changing, { version }: StoredVersion, stage: Stage): Promise<PolicyState> {
  const { state } = changing;
  if (version === state.inForce) {
    throw new PortcullisError('conflict', `Version ${version} is in force: put another one in force instead.`);
  }
  const shadow = stage === 'shadow' ? version : state.shadow === version ? null : state.shadow;
  if (shadow !== state.shadow) {
    await audit(changing, 'policy.shadow_changed', { version }, { before: state.shadow, after: shadow });
  }
  return save(changing, { ...state, shadow });
}

async function save({ tx, controlVersion, projectId, by }: Changing, state: PolicyState): Promise<PolicyState> {
  const saved = { ...state, revision: state.revision + 1n, changedBy: by.name };
  await saveState(tx, controlVersion, projectId, saved);
  return saved;
}

async function audit(
  { tx, by, requestId, projectId }: Changing,
  action: Extract<AuditAction, `policy.${string}`>,
  { version }: Pick<StoredVersion, 'version'>,
  payload: Readonly<Record<string, JsonValue>>,
): Promise<void> {
  await appendAudit(tx, {
    actor: { kind: by.kind, id: by.id },
    action,
    target: `${projectId}@${version}`,
    projectId,
    requestId,
    payload: { version, ...payload },
  });
}

/** What a version changes of the document in force. */
function payloadOf(
  { inForce }: Changing,
  { digest, restoredVersion }: StoredVersion,
  document: PolicyDocument,
): Readonly<Record<string, JsonValue>> {
  return {
    before: inForce && { version: inForce.version, sha256: inForce.digest.toString('hex') },
    after: { sha256: digest.toString('hex') },
    restored_version: restoredVersion,
    ...diffOf(inForce, document),
  };
}

/** Nothing where this server cannot read the document in force: the digests tell them apart. */
function diffOf(inForce: StoredVersion | null, document: PolicyDocument): Partial<DocumentDiff> {
  const before = inForce === null ? emptyDocument : readableDocument(inForce.document);
  return before === null ? {} : diffDocuments(before, document);
}

async function requireVersion(tx: Tx, projectId: string, version: number): Promise<StoredVersion> {
  const found = await findVersion(tx, projectId, version);
  if (found === null) throw noVersion(version);
  return found;
}

/** @throws PortcullisError conflict, naming the newer version and its author */
async function requireEtag(db: Queryable, { projectId, etag }: Change, state: PolicyState): Promise<void> {
  if (etag === null || etag === etagOf(state) || (etag === '' && state.revision === 0n)) return;
  const newest = await findVersion(db, projectId, state.lastVersion);
  const who =
    newest === null ? 'There is no version yet' : `Version ${newest.version} by "${newest.authorName}" is the newest`;
  throw new PortcullisError(
    'conflict',
    `The policy is not the one that this change was made from (etag "${etag.slice(0, 50)}"). ${who}; the last change was by "${state.changedBy}", and the etag is "${etagOf(state)}" now: look at it, and make the change anew.`,
    { param: 'etag' },
  );
}

/** What was in force before a rollback is what somebody rolled back from: to go there, or further back, is said. */
function requireNoRollback({ version, restoredVersion }: StoredVersion): void {
  if (restoredVersion === null) return;
  const from = restoredVersion === noVersionYet ? 'what was before version 1' : `version ${restoredVersion}`;
  throw new PortcullisError(
    'conflict',
    `Version ${version}, which is in force, is a rollback to ${from} already: name the version to go to now.`,
    { param: 'version' },
  );
}

function requireFewDrafts({ lastVersion, inForce }: PolicyState): void {
  if (lastVersion - (inForce ?? 0) < policyDraftsMax) return;
  throw new PortcullisError(
    'conflict',
    `There are ${policyDraftsMax} versions that are newer than the one in force: put one of them in force before you make more.`,
  );
}

/** A version that is older than the one in force lacks what was changed since: to go back is said so. */
function requireNewer({ version }: StoredVersion, { inForce }: PolicyState): void {
  if (inForce === null || version > inForce) return;
  throw new PortcullisError(
    'conflict',
    `Version ${version} is older than version ${inForce}, which is in force: roll back to it, if that is meant.`,
  );
}

export function stageOf({ version }: Pick<VersionHead, 'version'>, { inForce, shadow }: PolicyState): Stage {
  if (version === inForce) return 'enforced';
  return version === shadow ? 'shadow' : 'draft';
}

function noVersion(version: number): PortcullisError {
  return new PortcullisError('not_found', `There is no version ${version} of the policy of this project.`);
}
