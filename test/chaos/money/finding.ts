/** One invariant, how often it was tried, and every time that it did not hold. */
export interface Finding {
  readonly invariant: string;
  readonly counts: string;
  readonly violations: readonly string[];
}
