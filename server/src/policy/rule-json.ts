import type { JsonValue } from '../audit/canonical-json.ts';
import type { Rule } from './document.ts';

/** A rule as documents keep it: what it says is compared by this. */
export function ruleToJson({ name, actions: judged, condition, effect, mode }: Rule): JsonValue {
  const { kind } = effect;
  const rule = { name, actions: judged, condition, effect: kind, mode };
  if (kind !== 'require_approval') return rule;
  const { approvers, quorum, expiryS, risk, escalation } = effect;
  return {
    ...rule,
    approval: {
      approvers,
      quorum,
      expiry_s: expiryS,
      // Left out where they say nothing: a document that was stored before there were any keeps its digest.
      ...(risk !== 'normal' && { risk }),
      ...(escalation.length > 0 && {
        escalation: escalation.map(({ afterS, approvers: next }) => ({ after_s: afterS, approvers: next })),
      }),
    },
  };
}
