import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { findPendingGate } from '../../approval/links/gate-store.ts';
import type { LinkMint, MintedLink } from '../../approval/links/mint.ts';
import { linkSecondsMin, mintBodyBytesMax } from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import { personWhoCalls } from '../../identity/in-person.ts';
import type { Principal } from '../../identity/model.ts';
import { requireScope } from '../../identity/permission.ts';
import { findPerson, findPersonByEmail } from '../../identity/person-store.ts';
import type { RefusalAudit } from '../../identity/refusal-audit.ts';
import { digestOfBody, signedRequestOf } from '../../identity/signatures/node-request.ts';
import type { RequestSignatures } from '../../identity/signatures/request-signatures.ts';
import { inTransaction, type Queryable } from '../../pg/tx.ts';
import type { Pool } from 'pg';
import { admitCaller, type GuardOptions } from '../guard.ts';
import type { RateClass } from '../rates.ts';
import { placeOf } from '../sign-in/place.ts';

/** What making links takes. The guard knows no browsers: a cookie makes none. */
export interface MintOptions extends GuardOptions {
  readonly pool: Pool;
  readonly mint: LinkMint;
  readonly rate: RateClass;
  readonly refusals: RefusalAudit;
  readonly signatures: RequestSignatures;
  readonly publicUrl: string | null;
}

const scope = 'approvals:decide';
const path = '/v1/hitl/link/:run/:gate';

const wishes = z.strictObject({
  /** An id or an e-mail address; whoever calls where it is absent. */
  person: z.string().min(1).max(320).optional(),
  expires_in: z.coerce.number().int().min(linkSecondsMin).optional(),
});

interface Named {
  readonly run: string;
  readonly gate: string;
}

type Route = { Params: Named };

/**
 * Makes a link by which one person may decide what waits at a gate of a run. By GET too, for programs that were written for the
 * orchestrator which this replaces; no browser is made to ask it, since cookies do not count.
 */
export async function registerMint(app: FastifyInstance, options: MintOptions): Promise<void> {
  await app.register(async (routes) => {
    routes.addContentTypeParser(
      'application/json',
      { parseAs: 'buffer', bodyLimit: mintBodyBytesMax },
      (_request, body, done) => done(null, body),
    );
    const onRequest = async (request: FastifyRequest, reply: FastifyReply) => {
      reply.header('cache-control', 'no-store');
      const principal = await admitCaller(options, options.rate, request, reply);
      try {
        requireScope(principal, scope);
      } catch (thrown) {
        options.refusals.note('scope.denied', principal, scope, request.id);
        throw thrown;
      }
    };
    // What only asks whether there is such a thing makes no link.
    routes.get<Route>(path, { onRequest, exposeHeadRoute: false }, (request, reply) =>
      answer(options, request, reply, request.query),
    );
    routes.post<Route>(path, { onRequest }, (request, reply) => answer(options, request, reply, bodyOf(request)));
  });
}

async function answer(
  options: MintOptions,
  request: FastifyRequest<Route>,
  reply: FastifyReply,
  asked: unknown,
): Promise<FastifyReply> {
  const principal = request.principal ?? unknownCaller();
  await requireSigned(options, request, principal);
  const wished = wishes.safeParse(asked);
  if (!wished.success) throw unreadable(wished.error.issues[0]?.path.join('.') ?? '');
  const { run, gate } = request.params;
  const made = await mintFor(options, request, principal, wished.data);
  return reply.type('application/json').send(JSON.stringify(told(made, run, gate)));
}

async function mintFor(
  { pool, mint, publicUrl }: MintOptions,
  request: FastifyRequest<Route>,
  principal: Principal,
  { person: named, expires_in: lifetimeS }: z.infer<typeof wishes>,
): Promise<MintedLink & { readonly approvalId: string }> {
  const { run: runId, gate } = request.params;
  const { projectId } = principal;
  return inTransaction(pool, async (tx) => {
    const minter = await personWhoCalls(tx, principal);
    if (minter === null)
      throw refused('person', 'People make links, each for themselves: use a key that you made yourself.');
    const personId = named === undefined ? minter : await personNamed(tx, projectId, named);
    if (personId !== minter && !principal.scopes.has('admin'))
      throw refused('other', 'Only an administrator makes links for others.');
    const approvalId = await findPendingGate(tx, { projectId, runId, gate });
    if (approvalId === null)
      throw new PortcullisError('not_found', 'Nothing waits for people at this gate of this run.');
    const made = await mint.mint(tx, publicUrl ?? placeOf(request, null).origin, {
      approvalId,
      personId,
      by: { person: minter, address: request.clientAddress },
      requestId: request.id,
      ...(lifetimeS !== undefined && { lifetimeS }),
    });
    return { ...made, approvalId };
  });
}

/** @throws PortcullisError not_found */
async function personNamed(db: Queryable, projectId: string, named: string): Promise<string> {
  const found = named.includes('@')
    ? await findPersonByEmail(db, projectId, named.trim().toLowerCase())
    : await findPerson(db, projectId, named);
  if (found) return found.id;
  throw new PortcullisError('not_found', 'There is no such person in this project.', { param: 'person' });
}

/** The names of the orchestrator's answer, and ours. */
function told(made: MintedLink & { readonly approvalId: string }, run: string, gate: string): Record<string, unknown> {
  const { url, expiresAt, approvalId, person, id } = made;
  const seconds = Math.max(0, Math.floor((expiresAt - Date.now()) / 1000));
  return {
    runId: run,
    gate,
    approvalUrl: url,
    token: new URL(url).searchParams.get('token'),
    expiresIn: `${seconds}s`,
    expiresAt: new Date(expiresAt).toISOString(),
    approvalId,
    linkId: id,
    personId: person.id,
  };
}

async function requireSigned(
  { signatures }: MintOptions,
  request: FastifyRequest,
  principal: Principal,
): Promise<void> {
  const asked = { scopes: [scope], projectId: principal.projectId } as const;
  if (!signatures.concerns(principal, asked, request.headers['signature-input'] !== undefined)) return;
  const digest = digestOfBody(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));
  const signed = signedRequestOf(request.raw, request.clientAddress, () => digest);
  await signatures.require(principal, asked, signed, request.access);
}

/** @throws PortcullisError invalid_argument */
function bodyOf({ body }: FastifyRequest): unknown {
  if (!Buffer.isBuffer(body) || body.length === 0) return {};
  try {
    return JSON.parse(body.toString());
  } catch {
    throw unreadable('');
  }
}

function unreadable(field: string): PortcullisError {
  return new PortcullisError(
    'invalid_argument',
    `A link is asked for with person (an id or an address) and expires_in (seconds), or nothing${field === '' ? '' : `: ${field} cannot be read`}.`,
    { param: field },
  );
}

function refused(rule: string, sentence: string): PortcullisError {
  return new PortcullisError('policy_denied', sentence, { rule: `approval.link.${rule}` });
}

function unknownCaller(): never {
  throw new PortcullisError('unauthenticated', 'This needs a credential.');
}
