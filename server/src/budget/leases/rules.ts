/** A counter as it stands under lock, with what decides about slices of it. */
export interface LeasableCounter {
  /** Null where the budget has no limit, or is gone: then nothing is leased. */
  readonly limit: bigint | null;
  readonly posted: bigint;
  readonly held: bigint;
  readonly leased: bigint;
}

/** What one process says of its slice of a counter since the last flush, and what it wants. */
export interface SliceReport {
  /** What is left of the slice, as the database knows; null where it was taken away meanwhile, and posted. */
  readonly granted: bigint | null;
  /** What of a slice that was posted was not taken back yet. */
  readonly takeable: bigint;
  /** What was spent, in the budget's unit. */
  readonly spent: bigint;
  /** What calls in flight hold of the slice; where it was posted, with what they spent and did not tell. */
  readonly held: bigint;
  /** Room that the process would like to have for new calls. */
  readonly wanted: bigint;
  /** The dearest call that it had to think of lately. */
  readonly dearest: bigint;
}

/** What a flush changes. */
export interface SliceChange {
  /** Added to the counter. */
  readonly posted: bigint;
  readonly held: bigint;
  readonly leased: bigint;
  /** What is left of the slice from now on; null where there is none any more. */
  readonly granted: bigint | null;
  /** Taken back of what was posted for the process, positive. */
  readonly takenBack: bigint;
}

/** The most that is ever leased of a limit: a call that is dearer takes the strict path, and leases nothing. */
export function leasableMax(limit: bigint): bigint {
  return limit / 20n;
}

/**
 * Books what was spent out of a slice and sizes it anew (decision 0015): all slices of a counter together are at most one
 * per cent of its limit, or one worst case where that is more and no more than a twentieth; a process takes at most half of
 * what is left of that, so that others find some. What was spent beyond the slice is an overrun and is posted all the same. What calls in flight
 * hold is never given back. Of a slice that was posted whole, what its process knows not to be in flight is taken back.
 */
export function reslice(counter: LeasableCounter, report: SliceReport): SliceChange {
  const { granted, spent, held, takeable } = report;
  if (granted === null) {
    const takenBack = floor(takeable - held);
    return { posted: spent - takenBack, held: 0n, leased: 0n, granted: null, takenBack };
  }
  const used = min(spent, floor(granted - held));
  const left = granted - used;
  const free = floor(left - held);
  const more = report.wanted > free ? grantable(counter, report, spent, used) : report.wanted - free;
  return {
    posted: spent,
    held: more - used,
    leased: more - used,
    granted: left + more,
    takenBack: 0n,
  };
}

/** How much more may be leased, of what is wanted. */
function grantable(counter: LeasableCounter, report: SliceReport, spent: bigint, used: bigint): bigint {
  const { limit, posted, held, leased } = counter;
  if (limit === null) return 0n;
  const wanted = report.wanted - floor((report.granted ?? 0n) - used - report.held);
  const dearest = min(report.dearest, leasableMax(limit));
  const ceiling = max(limit / 100n, dearest);
  const ofShare = floor(ceiling - (leased - used));
  const ofLimit = floor(limit - (posted + spent) - (held - used));
  const share = ofShare <= dearest ? ofShare : max(ofShare / 2n, dearest);
  return min(wanted, min(share, ofLimit));
}

function min(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

function max(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}

function floor(amount: bigint): bigint {
  return max(amount, 0n);
}
