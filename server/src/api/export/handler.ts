import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { PortcullisError } from '../../base/errors.ts';
import { controlDeadlineMsMax } from '../../base/limits.ts';
import { type ExportKind, exportKinds, type ExportPlace, placeFromText, placeToText } from '../../export/model.ts';
import { walk } from '../../export/walk.ts';
import { ExportKindSchema, type ExportService, type ExportStateRequest } from '../../gen/portcullis/v1/export_pb.ts';
import { requireHolding } from '../../identity/holding.ts';
import { invalid } from '../../identity/input.ts';
import { callerOf } from '../caller.ts';
import { withinDeadline } from '../deadline.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { exportSummaryMessage } from './messages.ts';
import { exportReaders } from './readers.ts';

/**
 * Streams what a project holds. An export takes as long as it takes: the client's deadline is for all of it, and ours for
 * each page. Between pages it holds no connection to the database, and it reads one when the one before was taken. Nothing is
 * told for a credential that holds no longer.
 */
export function exportHandler(deps: ServiceDeps): ServiceImpl<typeof ExportService> {
  const { pool, clock, identity, exports, pageTokens, draining } = deps;
  return {
    async *exportState(request, context) {
      const { principal: by, requestId, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const [from, kinds] = [placeOf(deps, request, context, projectId), kindsOf(request)];
      requireSameKinds(from, kinds);
      const within = <T>(work: () => Promise<T>) => withinDeadline(pool, context.signal, controlDeadlineMsMax, work);
      const stream = await within(() => exports.begin({ by, requestId, projectId }, from, kinds));
      // A client that leaves while it is being written to may never ask for the next message.
      context.signal.addEventListener('abort', () => void stream.break(), { once: true });
      try {
        const readers = exportReaders(deps, projectId, stream.place);
        for await (const { records, place } of walk(stream.place, (kind) => (at) => within(() => readers[kind](at)))) {
          requireHolding(by, identity, clock.now());
          stream.place = place;
          yield { records: [...records], position: pageTokens.seal(list, placeToText(place)) };
          if (draining()) throw stopping();
        }
        await stream.complete();
        yield { summary: exportSummaryMessage(stream.place, clock.now()) };
      } finally {
        await stream.break();
      }
    },
  };
}

/** @throws PortcullisError invalid_argument */
function placeOf(
  { pageTokens }: ServiceDeps,
  { position }: ExportStateRequest,
  { method }: HandlerContext,
  projectId: string,
): ExportPlace | null {
  if (position === '') return null;
  const text = pageTokens.open({ method, projectId }, position);
  if (text === null) {
    throw invalid(
      'position',
      'position is not of an export of this project: take it unchanged from the last message that came whole.',
    );
  }
  const place = placeFromText(text);
  if (place !== null) return place;
  throw invalid('position', 'position is of a gate of another version: resume there, or begin the export anew.');
}

function kindsOf({ kinds }: ExportStateRequest): readonly ExportKind[] {
  return kinds.map((kind) => fromEnum(ExportKindSchema, exportKinds, kind, 'kinds'));
}

/** @throws PortcullisError invalid_argument */
function requireSameKinds(from: ExportPlace | null, kinds: readonly ExportKind[]): void {
  if (from === null || kinds.length === 0) return;
  if (new Set(kinds).symmetricDifference(new Set(from.kinds)).size === 0) return;
  throw invalid('kinds', `kinds must be empty or as the export was begun: ${from.kinds.join(', ')}.`);
}

function stopping(): PortcullisError {
  return new PortcullisError(
    'unavailable',
    'This gate is being stopped: resume at the position of the last message, here or on another replica.',
    { retryAfterS: 1 },
  );
}
