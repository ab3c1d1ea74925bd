import { PortcullisError } from '../base/errors.ts';

/** The refusal of a call whose money could not be held for a reason of ours. */
export function unavailable(reason: string, cause?: unknown): PortcullisError {
  return new PortcullisError('unavailable', `${reason}, so no money could be held: nothing was sent. Try again.`, {
    retryAfterS: 1,
    ...(cause === undefined ? {} : { cause }),
  });
}

export function holdTimedOut(): PortcullisError {
  return unavailable('The database did not answer in time');
}

/** What a caller hears whose call was made, and of whose settlement nobody knows yet. */
export function notSettled(cause?: unknown): PortcullisError {
  return new PortcullisError(
    'unavailable',
    'The call was made, but what it cost could not be written in time: do not repeat it. Its reservation stands until then.',
    // The provider would be called, and paid, a second time.
    { final: true, ...(cause === undefined ? {} : { cause }) },
  );
}
