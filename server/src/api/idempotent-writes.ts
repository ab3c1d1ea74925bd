import { type DescMethod, type DescService, type Message, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { digestOf } from '../base/digest.ts';
import { PortcullisError } from '../base/errors.ts';
import { controlDeadlineMsMax, controlReachMs, idempotencyKeyCharsMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import { principalKey } from './context.ts';
import { withinDeadline } from './deadline.ts';
import type { ServiceDeps } from './deps.ts';
import { methodRule } from './methods.ts';
import { withoutSecrets } from './redaction.ts';
import type { RequestsInFlight } from './requests-in-flight.ts';

/** What writes with a key, and deadlines, are made with. */
interface Parts extends Pick<ServiceDeps, 'pool' | 'feed' | 'idempotency' | 'onReplay'> {
  readonly inFlight: RequestsInFlight;
}

type Handle = (request: Message, context: HandlerContext) => Promise<Message>;

/**
 * The methods of a service, each within its client's deadline, and those that write at most once under an
 * `Idempotency-Key` (decision 0018).
 * @throws Error for a write that is no unary method: there is nothing that could be given again
 */
export function requestHandlers<T extends DescService>(
  service: T,
  handler: ServiceImpl<T>,
  parts: Parts,
): ServiceImpl<T> {
  const handlers = handler as Readonly<Record<string, unknown>>;
  const methods = service.methods.map((method) => [method.localName, handlerOf(method, handlers, parts)]);
  return Object.fromEntries(methods) as ServiceImpl<T>;
}

function handlerOf(method: DescMethod, handlers: Readonly<Record<string, unknown>>, parts: Parts): unknown {
  const given = handlers[method.localName];
  const { access } = methodRule(method);
  if (method.methodKind !== 'unary') {
    if (access === 'write') throw new Error(`${method.name} writes, so it must be unary.`);
    return given;
  }
  const handle = given as Handle;
  const whole = access === 'write' ? onceUnderKey(method, handle, parts) : handle;
  return (request: Message, context: HandlerContext) => {
    const run = () =>
      withinDeadline(parts.pool, context.signal, controlDeadlineMsMax, async () => whole(request, context));
    const principal = context.values.get(principalKey);
    // What needs no credential has another limit: the rate of its address.
    return principal ? parts.inFlight.run(callerOf(principal), run) : run();
  };
}

function onceUnderKey(method: DescMethod, handle: Handle, { idempotency, feed, onReplay }: Parts): Handle {
  return async (request, context) => {
    const key = keyOf(context.requestHeader);
    if (key === null) return handle(request, context);
    let made: Message | null = null;
    const asked = askedBy(method, request, context);
    const { answer, refusal, isReplay, version } = await idempotency.once(
      { ...asked.scope, key },
      asked.request,
      async () => {
        made = create(method.output, await handle(request, context));
        return Buffer.from(toBinary(method.output, withoutSecrets(method.output, made)));
      },
    );
    if (isReplay) {
      onReplay();
      context.responseHeader.set('idempotency-replayed', 'true');
    }
    if (refusal) throw refusal;
    if (version !== null) await feed.reach(version, controlReachMs);
    return made ?? fromBinary(method.output, answer);
  };
}

/** Whose key it is and for what, and what is asked: rights are a part of that, so that less of them sees no answer to more. */
function askedBy(method: DescMethod, request: Message, { values }: HandlerContext) {
  const principal = values.get(principalKey);
  if (!principal) throw new Error(`${method.name} was entered without a principal.`);
  const operation = `${method.parent.typeName}/${method.name}`;
  return {
    scope: { projectId: principal.projectId, principal: callerOf(principal), operation },
    request: digestOf([rightsOf(principal), Buffer.from(toBinary(method.input, request))]),
  };
}

function callerOf({ kind, id }: Principal): string {
  return `${kind} ${id}`;
}

/** What a principal may do, and what limits its key: the same of a key and of the one that it is rotated to. */
function rightsOf({ scopes, runId, models, cidrs, binding, requiresSignature, expiresAt }: Principal): string {
  const sorted = (values: Iterable<string> | null) => values && [...values].toSorted();
  const certificate = binding && [binding.by, binding.value];
  const ends = expiresAt !== null;
  return JSON.stringify([sorted(scopes), runId, sorted(models), sorted(cidrs), certificate, requiresSignature, ends]);
}

const printableAscii = /^[\x20-\x7e]+$/;

function keyOf(headers: Headers): string | null {
  const key = headers.get('idempotency-key');
  if (key === null || (key.length <= idempotencyKeyCharsMax && printableAscii.test(key))) return key;
  throw new PortcullisError(
    'invalid_argument',
    `Idempotency-Key must have 1 to ${idempotencyKeyCharsMax} printable ASCII characters.`,
    { param: 'Idempotency-Key' },
  );
}
