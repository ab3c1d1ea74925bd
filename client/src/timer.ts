/** What a timer can hold, in milliseconds; it takes what is longer for one millisecond. */
export const timerMsMax = 2 ** 31 - 1;

/** A timer of any length: of Infinity there is none. */
export function after(ms: number, then: () => void): ReturnType<typeof setTimeout> | undefined {
  return ms === Infinity ? undefined : setTimeout(then, Math.min(ms, timerMsMax));
}
