import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { simulationRowsDefault, simulationRowsMax } from '../../base/limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import { PolicyStage, PolicyStageSchema } from '../../gen/portcullis/v1/policy_document_pb.ts';
import type { PolicyService, SimulatePolicyRequest } from '../../gen/portcullis/v1/policy_pb.ts';
import { invalid } from '../../identity/input.ts';
import { type CompiledPolicy, compilePolicy } from '../../policy/compiled-policy.ts';
import { checkDocument, type PolicyDocument } from '../../policy/document.ts';
import type { PolicyVersions } from '../../policy/version-service.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import { visible } from '../visible.ts';
import {
  answerMessage,
  capMessage,
  capOf,
  documentIn,
  documentOf,
  ruleMessage,
  ruleOf,
  simulationMessage,
  stateMessage,
  versionMessage,
} from './messages.ts';

type PolicyMethods =
  | 'getPolicy'
  | 'setPolicy'
  | 'listPolicyVersions'
  | 'promotePolicy'
  | 'rollbackPolicy'
  | 'upsertRule'
  | 'listRules'
  | 'deleteRule'
  | 'upsertPolicyCap'
  | 'listPolicyCaps'
  | 'deletePolicyCap'
  | 'simulatePolicy';

const stages = ['draft', 'shadow', 'enforced'] as const;

/** The part of PolicyService that is about documents and versions. */
export function policyHandler({
  policies,
  simulator,
  feed,
  pageTokens,
}: ServiceDeps): Pick<ServiceImpl<typeof PolicyService>, PolicyMethods> {
  /** A change of one part of the document in force. */
  const edit = async (
    request: { readonly projectId?: string | undefined; readonly etag: string; readonly note: string },
    context: HandlerContext,
    change: (document: PolicyDocument) => PolicyDocument,
  ) => {
    const { note } = request;
    const edited = policies.edit({ ...changeOf(request, context, 'optional'), note, edit: change });
    return answerMessage(await visible(feed, edited));
  };
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

    upsertRule(request, context) {
      const rule = ruleOf(request.rule);
      return edit(request, context, (document) => ({ ...document, rules: withNamed(document.rules, rule) }));
    },

    async listRules(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const answer = await policies.get(projectId, null);
      return { rules: documentIn(answer).rules.map(ruleMessage), state: stateMessage(answer.state) };
    },

    deleteRule(request, context) {
      return edit(request, context, (document) => ({
        ...document,
        rules: withoutNamed(document.rules, request.name, 'rule'),
      }));
    },

    upsertPolicyCap(request, context) {
      const cap = capOf(request.cap);
      return edit(request, context, (document) => ({ ...document, caps: withNamed(document.caps, cap) }));
    },

    async listPolicyCaps(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const answer = await policies.get(projectId, null);
      return { caps: documentIn(answer).caps.map(capMessage), state: stateMessage(answer.state) };
    },

    deletePolicyCap(request, context) {
      return edit(request, context, (document) => ({
        ...document,
        caps: withoutNamed(document.caps, request.name, 'cap'),
      }));
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

function changeOf(
  { projectId: named, etag }: { readonly projectId?: string | undefined; readonly etag: string },
  context: HandlerContext,
  etagIs: 'required' | 'optional' = 'required',
) {
  const { principal: by, requestId, projectId } = callerOf(context, named);
  return { by, requestId, projectId, etag: etag === '' && etagIs === 'optional' ? null : etag };
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

/** What has the name of `part` is replaced where it stands; else it comes last. */
function withNamed<T extends { readonly name: string }>(parts: readonly T[], part: T): readonly T[] {
  const at = parts.findIndex(({ name }) => name === part.name.trim());
  return at === -1 ? [...parts, part] : parts.with(at, part);
}

/** @throws PortcullisError not_found */
function withoutNamed<T extends { readonly name: string }>(
  parts: readonly T[],
  named: string,
  kind: 'rule' | 'cap',
): readonly T[] {
  const rest = parts.filter(({ name }) => name !== named);
  if (rest.length < parts.length) return rest;
  throw new PortcullisError('not_found', `The policy in force has no ${kind} "${named.slice(0, 100)}".`);
}
