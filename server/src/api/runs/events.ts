import type { ServiceImpl } from '@connectrpc/connect';
import { RunEventLevelSchema } from '../../gen/portcullis/v1/run_event_pb.ts';
import type { RunService } from '../../gen/portcullis/v1/run_pb.ts';
import { invalid } from '../../identity/input.ts';
import { eventLevels } from '../../run/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import { eventMessage, toldEvent } from './messages.ts';

/** What agents tell of their runs. */
export function eventMethods({
  runEvents,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof RunService>, 'recordRunEvent' | 'recordRunEvents' | 'listRunEvents'> {
  return {
    async recordRunEvent(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      if (!request.event) throw invalid('event', 'event is required.');
      const event = toldEvent(request.event, 'event');
      const { id, duplicate } = await runEvents.record(principal, { id: request.runId, projectId }, event);
      return { eventId: id, duplicate };
    },

    async recordRunEvents(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const told = request.events.map((input, at) => toldEvent(input, `events[${at}]`));
      const recorded = await runEvents.recordAll(principal, { id: request.runId, projectId }, told);
      return { recorded, duplicates: told.length - recorded };
    },

    async listRunEvents(request, context) {
      const { principal, projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const question = {
        type: request.type ?? null,
        level: request.level === 0 ? null : fromEnum(RunEventLevelSchema, eventLevels, request.level, 'level'),
        from: fromTimestamp('start_time', request.startTime),
        to: fromTimestamp('end_time', request.endTime),
      };
      const run = { id: request.runId, projectId };
      const page = await runEvents.list(principal, run, question, pageTokens.read(list, request));
      return { events: page.items.map(eventMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}
