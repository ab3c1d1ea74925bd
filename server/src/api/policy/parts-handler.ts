import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { PortcullisError } from '../../base/errors.ts';
import type { PolicyService } from '../../gen/portcullis/v1/policy_pb.ts';
import type { PolicyDocument } from '../../policy/document.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { visible } from '../visible.ts';
import { changeOf } from './change.ts';
import { answerMessage, capMessage, capOf, documentIn, ruleMessage, ruleOf, stateMessage } from './messages.ts';

type PartMethods = 'upsertRule' | 'listRules' | 'deleteRule' | 'upsertPolicyCap' | 'listPolicyCaps' | 'deletePolicyCap';

/** The part of PolicyService that is about the rules and caps of the document in force, one at a time. */
export function policyPartsHandler({
  policies,
  feed,
}: ServiceDeps): Pick<ServiceImpl<typeof PolicyService>, PartMethods> {
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
  };
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
