import type { ServiceImpl } from '@connectrpc/connect';
import { simulationRowsDefault, simulationRowsMax } from '../../base/limits.ts';
import { PolicyStage, PolicyStageSchema } from '../../gen/portcullis/v1/policy_document_pb.ts';
import type { PolicyService, SimulatePolicyRequest } from '../../gen/portcullis/v1/policy_pb.ts';
import { invalid } from '../../identity/input.ts';
import { type CompiledPolicy, compilePolicy } from '../../policy/compiled-policy.ts';
import { checkDocument } from '../../policy/document.ts';
import type { PolicyVersions } from '../../policy/version-service.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import { visible } from '../visible.ts';
import { changeOf } from './change.ts';
import { answerMessage, documentIn, documentOf, simulationMessage, stateMessage, versionMessage } from './messages.ts';

type PolicyMethods =
  | 'getPolicy'
  | 'setPolicy'
  | 'listPolicyVersions'
  | 'promotePolicy'
  | 'rollbackPolicy'
  | 'simulatePolicy';

const stages = ['draft', 'shadow', 'enforced'] as const;

/** The part of PolicyService that is about whole documents and their versions. */
export function policyHandler({
  policies,
  simulator,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof PolicyService>, PolicyMethods> {
  return {
    async getPolicy(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return answerMessage(await policies.get(projectId, request.version ?? null));
    },

    async setPolicy(request, context) {
      const stage = fromEnum(PolicyStageSchema, stages, request.stage, 'stage');
      const document = documentOf(request.document);
      const made = policies.set({ ...changeOf(request, context), document, stage, note: request.note });
      return answerMessage(await visible(feed, made));
    },

    async listPolicyVersions(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const { state, page } = await policies.list(projectId, pageTokens.read(list, request));
      return {
        state: stateMessage(state),
        versions: page.items.map((version) => versionMessage(version, state)),
        nextPageToken: pageTokens.next(list, page),
      };
    },

    async promotePolicy(request, context) {
      const { version } = request;
      const named = request.stage === PolicyStage.UNSPECIFIED ? PolicyStage.ENFORCED : request.stage;
      const stage = fromEnum(PolicyStageSchema, stages, named, 'stage');
      const promoted = policies.promote({ ...changeOf(request, context), version, stage });
      return answerMessage(await visible(feed, promoted));
    },

    async rollbackPolicy(request, context) {
      const { version = null, note } = request;
      const back = policies.rollback({ ...changeOf(request, context), version, note });
      return answerMessage(await visible(feed, back));
    },

    async simulatePolicy(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const result = await simulator.simulate({
        projectId,
        policy: () => simulated(policies, projectId, request),
        from: fromTimestamp('start_time', request.startTime),
        until: fromTimestamp('end_time', request.endTime),
        rowsMax: rowsMaxOf(request),
        signal: context.signal,
      });
      return simulationMessage(result);
    },
  };
}

async function simulated(
  policies: PolicyVersions,
  projectId: string,
  { policy }: SimulatePolicyRequest,
): Promise<CompiledPolicy> {
  if (policy.case === 'document') return (await checkDocument(documentOf(policy.value))).policy;
  if (policy.case === 'version') return compilePolicy(documentIn(await policies.get(projectId, policy.value)));
  throw invalid('document', 'document or version must say what to judge by.');
}

function rowsMaxOf({ rowsMax }: SimulatePolicyRequest): number {
  if (rowsMax >= 0 && rowsMax <= simulationRowsMax) return rowsMax === 0 ? simulationRowsDefault : rowsMax;
  throw invalid('rows_max', `rows_max must be from 1 to ${simulationRowsMax}, or 0 for ${simulationRowsDefault}.`);
}
