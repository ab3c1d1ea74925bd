import { systemClock } from '../../server/src/base/clock.ts';
import { createLogger } from '../../server/src/base/log.ts';
import { createMetrics } from '../../server/src/base/metrics.ts';
import { PolicyJudge } from '../../server/src/policy/judge.ts';
import { PolicyIndex } from '../../server/src/policy/policy-index.ts';

/** Judges by an index that whoever asks feeds, and records nothing. */
export function judgeOf(index = new PolicyIndex(createLogger('silent'))): PolicyJudge {
  return new PolicyJudge({ index, records: null, metrics: createMetrics(), clock: systemClock });
}
