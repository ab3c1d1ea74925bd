import type { Logger } from '../base/log.ts';
import type { Scope } from '../identity/scopes.ts';
import type { ControlPart } from '../pg/control-feed.ts';
import type { Queryable } from '../pg/tx.ts';
import { type CompiledPolicy, compilePolicy } from './compiled-policy.ts';
import { documentFromJson, signedScopesIn } from './document.ts';
import { type PolicyInForce, policiesSince } from './version-store.ts';

/** A version that judges. */
export interface JudgingVersion {
  readonly version: number;
  readonly policy: CompiledPolicy;
}

/** What judges the calls of a project; none of both is no policy. */
export interface ProjectPolicy {
  readonly inForce: JudgingVersion | null;
  readonly shadow: JudgingVersion | null;
}

/** A version that this process cannot build. */
export interface BrokenPolicy {
  readonly brokenVersion: number;
}

interface Loaded {
  readonly inForce: JudgingVersion | BrokenPolicy | null;
  readonly shadow: JudgingVersion | null;
  readonly signedScopes: ReadonlySet<Scope>;
}

const noPolicy: ProjectPolicy = { inForce: null, shadow: null };
const noScopes: ReadonlySet<Scope> = new Set();

/** The policies in force, compiled: once a version, when it is read, and then swapped in one turn with all control state. */
export class PolicyIndex implements ControlPart {
  readonly name = 'policies';
  readonly #log: Logger;
  readonly #projects = new Map<string, Loaded>();

  constructor(log: Logger) {
    this.#log = log;
  }

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const changed: (readonly [projectId: string, loaded: Loaded])[] = [];
    for (const stored of await policiesSince(db, since)) changed.push([stored.projectId, await this.#build(stored)]);
    return () => {
      for (const [projectId, loaded] of changed) this.#projects.set(projectId, loaded);
    };
  }

  /** What judges the project's calls; a broken one must let nothing through. */
  of(projectId: string): ProjectPolicy | BrokenPolicy {
    const loaded = this.#projects.get(projectId);
    if (loaded === undefined) return noPolicy;
    const { inForce, shadow } = loaded;
    return inForce !== null && 'brokenVersion' in inForce ? inForce : { inForce, shadow };
  }

  /** Scopes whose writes must be signed: also where the rest of the document cannot be built. */
  signedScopes(projectId: string): ReadonlySet<Scope> {
    return this.#projects.get(projectId)?.signedScopes ?? noScopes;
  }

  async #build({ projectId, inForce, shadow }: PolicyInForce): Promise<Loaded> {
    const known = this.#projects.get(projectId);
    return {
      inForce: inForce && (await this.#buildVersion(projectId, inForce, known?.inForce ?? null)),
      shadow: shadow && (await this.#buildShadow(projectId, shadow, known?.shadow ?? null)),
      signedScopes: new Set(inForce === null ? [] : signedScopesIn(inForce.document)),
    };
  }

  async #buildVersion(
    projectId: string,
    { version, document }: NonNullable<PolicyInForce['inForce']>,
    known: Loaded['inForce'],
  ): Promise<NonNullable<Loaded['inForce']>> {
    // Versions never change.
    if (known !== null && 'version' in known && known.version === version) return known;
    try {
      return { version, policy: await compilePolicy(documentFromJson(document)) };
    } catch (err) {
      this.#log.error(
        { err, project_id: projectId, policy_version: version },
        'A policy cannot be built here: the calls of its project are refused.',
      );
      return { brokenVersion: version };
    }
  }

  /** What only looks on refuses nothing, whatever is wrong with it. */
  async #buildShadow(
    projectId: string,
    stored: NonNullable<PolicyInForce['shadow']>,
    known: JudgingVersion | null,
  ): Promise<JudgingVersion | null> {
    if (known?.version === stored.version) return known;
    try {
      return { version: stored.version, policy: await compilePolicy(documentFromJson(stored.document)) };
    } catch (err) {
      this.#log.error(
        { err, project_id: projectId, policy_version: stored.version },
        'A policy in shadow cannot be built here: it judges nothing.',
      );
      return null;
    }
  }
}
