import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { SealingKey } from '../../base/sealed-secret.ts';
import {
  challengeAnswerBytesMax,
  challengeLeaseMs,
  challengeRetryMs,
  challengesMax,
  challengesPerProjectMax,
  deliveryTimeoutMs,
} from '../../base/webhook-limits.ts';
import type { Egress } from '../../net/egress/egress.ts';
import { EgressError } from '../../net/egress/model.ts';
import { inTransaction } from '../../pg/tx.ts';
import { challengeBody, refusalOf } from './challenge-rules.ts';
import { type DueChallenge, claimChallenges, deleteChallenge, setChallengeFailed } from './challenge-store.ts';
import { hostOf } from './endpoint-model.ts';
import { lockEndpoint, setEndpointVerified, signingSecrets } from './endpoint-store.ts';
import { openSigningSecret, signedHeaders } from './signing.ts';

export interface ChallengerParts {
  readonly pool: Pool;
  readonly sealing: SealingKey;
  readonly egress: Pick<Egress, 'request'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Sends the challenges of endpoints that are not verified yet. Any number of processes share them; none holds a connection while it waits. */
export class Challenger {
  readonly #parts: ChallengerParts;
  readonly #underWay = new Map<Promise<void>, string>();
  readonly #stopping = new AbortController();

  constructor(parts: ChallengerParts) {
    this.#parts = parts;
  }

  /** Begins with those that are due, as far as there is room; some of one project at a time, so that none keeps others waiting. */
  async tick(): Promise<void> {
    const room = Math.min(challengesMax - this.#underWay.size, challengesPerProjectMax);
    if (room <= 0 || this.#stopping.signal.aborted) return;
    const due = await claimChallenges(this.#parts.pool, room, challengeLeaseMs, this.#busyProjects());
    for (const challenge of due) {
      const sent = this.#verify(challenge)
        .catch((err: unknown) =>
          this.#parts.log.error({ err, endpoint: challenge.endpointId }, 'a challenge could not be sent'),
        )
        .finally(() => this.#underWay.delete(sent));
      this.#underWay.set(sent, challenge.projectId);
    }
  }

  /** Ends requests under way; another process repeats them. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#underWay.keys());
  }

  #busyProjects(): string[] {
    return [...new Set(this.#underWay.values())];
  }

  async #verify(challenge: DueChallenge): Promise<void> {
    const refusal = await this.#ask(challenge);
    if (this.#stopping.signal.aborted) return;
    if (refusal === null) return this.#succeed(challenge);
    const retryMs = challengeRetryMs[challenge.attempts - 1] ?? null;
    await setChallengeFailed(this.#parts.pool, challenge, refusal, retryMs);
  }

  /** @returns why the endpoint is not verified; null when it is */
  async #ask(challenge: DueChallenge): Promise<string | null> {
    const { pool, sealing, egress, clock } = this.#parts;
    const secrets = (await signingSecrets(pool, challenge.endpointId)).flatMap(
      (stored) => openSigningSecret(sealing, stored) ?? [],
    );
    if (secrets.length === 0) return 'Its secret cannot be opened: was SECRETS_KEY changed? Rotate it.';
    const nowMs = clock.now();
    const { id, url, projectId: share } = challenge;
    const body = challengeBody(challenge, nowMs);
    const signed = signedHeaders({ id, timestampS: Math.floor(nowMs / 1000), body }, secrets);
    try {
      const answer = await egress.request({
        owner: 'webhook',
        share,
        url,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'Portcullis-Webhooks/1', ...signed },
        body,
        timeoutMs: deliveryTimeoutMs,
        responseBytesMax: challengeAnswerBytesMax,
        take: 'start',
        signal: this.#stopping.signal,
      });
      return refusalOf(answer.status, answer.body.toString(), id);
    } catch (error) {
      if (error instanceof EgressError) return error.message;
      throw error;
    }
  }

  /** The endpoint gets events from now on, unless its challenge was replaced or it was disabled meanwhile. */
  async #succeed(challenge: DueChallenge): Promise<void> {
    const { endpointId, projectId, url, id } = challenge;
    await inTransaction(this.#parts.pool, async (tx) => {
      const endpoint = await lockEndpoint(tx, projectId, endpointId);
      if (endpoint === null || endpoint.challenge?.id !== id) return;
      await deleteChallenge(tx, challenge);
      // One that was disabled meanwhile is verified all the same, and gets events once it is enabled.
      await setEndpointVerified(tx, endpointId);
      await appendAudit(tx, {
        actor: { kind: 'system', id: 'server' },
        action: 'webhook_endpoint.verified',
        target: endpointId,
        projectId,
        requestId: null,
        payload: { host: hostOf(url), attempts: challenge.attempts },
      });
    });
  }
}
