import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import { PortcullisError } from '../../base/errors.ts';
import { exchangedKeysPerAgentMax, loginKeyS } from '../../base/limits.ts';
import { controlWrite } from '../../pg/tx.ts';
import type { Authenticator, AuthRequest } from '../authenticator.ts';
import { checkNewKey } from '../key-input.ts';
import { auditPayload, issueKey } from '../key-issue.ts';
import type { Principal } from '../model.ts';
import { requireActiveAgent } from '../references.ts';
import { grants, isScope, type Scope } from '../scopes.ts';
import { type Granted, refuse } from './model.ts';
import { countExchangedKeys } from './store.ts';

/** One sentence for every token that does not do: RFC 8693, section 2.2.2, has one code for all of them. */
const noAgent = refuse('invalid_request', 'The subject_token does not hold, or names no agent that may act here.');
const wider = refuse('invalid_scope', 'The agent may not have all of these scopes by this token.');

/** Keys for workloads: an agent shows the token of an issuer that names it, and gets a key of at most an hour (RFC 8693). */
export class TokenExchange {
  readonly #pool: Pool;
  readonly #pepper: KeyObject;
  readonly #authenticator: Authenticator;

  constructor(pool: Pool, pepper: KeyObject, authenticator: Authenticator) {
    this.#pool = pool;
    this.#pepper = pepper;
    this.#authenticator = authenticator;
  }

  /**
   * A key with the scopes of the token or, where it has none of ours, those that an operator gave the agent for an identity
   * that says nothing of scopes: of these the ones asked for. It is bound to the certificate that the token is bound to.
   * @throws PortcullisError rate_limited (failed tokens, too many keys), cannot_verify, unavailable
   */
  async exchange(
    subjectToken: string,
    asked: readonly Scope[] | null,
    request: Omit<AuthRequest, 'headers' | 'url' | 'session'>,
  ): Promise<Granted> {
    const by = await this.#identify(subjectToken, request);
    const agentId = by?.agentId ?? null;
    if (by === null || agentId === null) return noAgent;
    const { projectId, binding } = by;
    const { result } = await controlWrite(this.#pool, async (tx, version): Promise<Granted> => {
      const agent = await requireActiveAgent(tx, projectId, agentId);
      const held = by.scopes.size > 0 ? by.scopes : new Set(agent.certificateScopes.filter(isScope));
      if (asked?.some((scope) => !grants(held, scope))) return wider;
      if ((await countExchangedKeys(tx, agentId)) >= exchangedKeysPerAgentMax) throw tooMany(agent.name);
      const checked = checkNewKey({
        projectId,
        name: 'exchanged token',
        kind: 'agent',
        agentId,
        scopes: asked ?? [...held],
        binding,
        lifetimeS: loginKeyS,
      });
      const issued = await issueKey(tx, version, this.#pepper, checked, { id: agentId, personId: null, keyId: null });
      await appendAudit(tx, {
        actor: { kind: 'agent', id: agentId },
        action: 'token.issued',
        target: issued.key.id,
        projectId,
        requestId: request.access.requestId,
        payload: { ...auditPayload(issued.key), issuer: by.token?.issuer ?? null, subject: by.token?.subject ?? null },
      });
      return { issued: { ...issued, refreshCredential: null } };
    });
    return result;
  }

  /** By the one way in, with all that it counts and limits; null for a credential that does not hold, or is no agent's token. */
  async #identify(token: string, request: Omit<AuthRequest, 'headers' | 'url' | 'session'>): Promise<Principal | null> {
    try {
      const headers = { 'x-portcullis-key': token };
      const principal = await this.#authenticator.identify({ ...request, headers, url: '/' });
      return principal.method === 'jwt' && principal.kind === 'agent' ? principal : null;
    } catch (thrown) {
      if (PortcullisError.from(thrown).status === 401) return null;
      throw thrown;
    }
  }
}

function tooMany(name: string): PortcullisError {
  return new PortcullisError(
    'rate_limited',
    `The agent "${name}" has ${exchangedKeysPerAgentMax} keys for its tokens that still hold: use one again, or wait.`,
    { retryAfterS: 60, rule: 'exchanged_keys' },
  );
}
