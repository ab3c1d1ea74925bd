import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../../base/clock.ts';
import { controlReachMs } from '../../base/limits.ts';
import type { IdentityIndex } from '../identity-index.ts';
import type { SignedIn } from '../sessions/model.ts';
import { readNewcomer, refusal } from './claims.ts';
import { OidcClient } from './client.ts';
import type { OidcOptions } from './model.ts';
import { admitPerson } from './person.ts';
import { newTicket, openTicket, type Ticket } from './ticket.ts';

export interface OidcSignInParts {
  readonly pool: Pool;
  readonly key: KeyObject;
  readonly index: IdentityIndex;
  /** The control feed's: resolves when this replica has seen the version. */
  readonly reach: (version: bigint, timeoutMs: number) => Promise<void>;
  readonly clock: Clock;
}

/** Signing in through the identity provider, from the button to the person. */
export class OidcSignIn {
  readonly #options: OidcOptions;
  readonly #parts: OidcSignInParts;
  readonly #client: OidcClient;

  constructor(options: OidcOptions, parts: OidcSignInParts) {
    this.#options = options;
    this.#parts = parts;
    this.#client = new OidcClient(options, parts.clock);
  }

  /**
   * @returns where the browser goes, and the ticket that it must bring back
   * @throws PortcullisError cannot_verify
   */
  async begin(redirectUri: string, returnTo: string): Promise<{ url: string; ticket: string }> {
    const { key, clock } = this.#parts;
    const ticket = newTicket(key, returnTo, clock.now());
    return { url: await this.#client.authorizationUrl(this.open(ticket), redirectUri), ticket };
  }

  /**
   * The sign-in that the browser began.
   * @param text what it kept; null where it has nothing
   * @throws PortcullisError policy_denied, in words for the person
   */
  open(text: string | null): Ticket {
    const { key, clock } = this.#parts;
    const ticket = text === null ? null : openTicket(key, text, clock.now());
    if (ticket) return ticket;
    throw refusal(
      'ticket',
      'This sign-in was not begun in this browser, or more than ten minutes ago: sign in again from here.',
    );
  }

  /**
   * @param answer the redirect URI, with the query with which the browser came
   * @throws PortcullisError policy_denied, in words for the person; cannot_verify, unavailable
   */
  async finish(answer: URL, begun: Ticket, requestId: string): Promise<SignedIn> {
    const { pool, index, reach } = this.#parts;
    const { projectId, rules } = this.#options;
    const newcomer = readNewcomer(await this.#client.claims(answer, begun), rules);
    const { result, version } = await admitPerson(pool, newcomer, rules, { projectId, requestId });
    await reach(version, controlReachMs);
    if ('refused' in result) throw result.refused;
    const principal = index.personInSession(result.personId);
    // In the moment between, an operator disabled them.
    if (typeof principal === 'string') throw refusal('disabled', 'Your account here is disabled.');
    const { issuer, subject } = newcomer;
    return { method: 'oidc', principal, issuer, subject };
  }
}
