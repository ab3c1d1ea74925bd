import type { PortcullisError } from '../base/errors.ts';

/** What a refusal says beside its sentence, for programs: which rule, which limit, when it resets. */
export function errorDetails(error: PortcullisError): Record<string, string | number> {
  const { retryAfterS, resetsAt, ...members } = error.members;
  return {
    ...members,
    ...(resetsAt !== undefined && { resets_at: resetsAt }),
    ...(retryAfterS !== undefined && { retry_after: Math.ceil(retryAfterS) }),
  };
}
