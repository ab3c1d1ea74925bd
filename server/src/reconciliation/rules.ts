import type { NanoUsd } from '../base/money.ts';
import type { BilledFigure, Booked, MatchedModel, MatchState, Tolerance } from './model.ts';

/** A model's name without the date that vendors put behind it: -20250929, -2024-07-18, @20250929. */
export function undated(model: string): string {
  return model.replace(/[-@](?:20\d{6}|20\d\d-\d\d-\d\d)$/, '');
}

/** Whether two names become equal when one of them loses its date. */
function isAlias(one: string, other: string): boolean {
  return one !== other && (undated(one) === other || one === undated(other));
}

/** Names of a bill and of the ledger that are one model. */
interface Names {
  readonly billed: string[];
  readonly booked: string[];
}

/**
 * Which names of a day's bill and ledger are one model: equal ones, and of those that have no equal on the other side, ones
 * that are equal when the date is taken off one of them. What has no counterpart stands by itself.
 */
export function groupModels(billed: readonly string[], booked: readonly string[]): Names[] {
  const groups = new Map<string, Names>();
  const groupOf = (side: keyof Names, model: string): Names => {
    const key = `${side} ${model}`;
    const known = groups.get(key);
    if (known) return known;
    const made: Names = { billed: [], booked: [] };
    made[side].push(model);
    groups.set(key, made);
    return made;
  };
  const join = (one: string, other: string) => {
    const [into, from] = [groupOf('billed', one), groupOf('booked', other)];
    if (into === from) return;
    for (const side of ['billed', 'booked'] as const) {
      into[side].push(...from[side]);
      for (const model of from[side]) groups.set(`${side} ${model}`, into);
    }
  };
  for (const model of billed) groupOf('billed', model);
  for (const model of booked) groupOf('booked', model);
  const [inBill, inLedger] = [new Set(billed), new Set(booked)];
  for (const one of billed) if (inLedger.has(one)) join(one, one);
  for (const one of billed) {
    for (const other of booked) {
      const paired = inLedger.has(one) && inBill.has(other);
      if (!paired && isAlias(one, other)) join(one, other);
    }
  }
  return [...new Set(groups.values())];
}

/** Whether bill and ledger differ by more than is tolerated: by either bound. */
export function isBeyond(drift: bigint, billed: bigint, { basisPoints, nanoUsd }: Tolerance): boolean {
  return magnitude(drift) > nanoUsd || isBeyondShare(drift, billed, basisPoints);
}

function isBeyondShare(drift: bigint, billed: bigint, basisPoints: number): boolean {
  return magnitude(drift) * 10_000n > billed * BigInt(basisPoints);
}

function magnitude(amount: bigint): bigint {
  return amount < 0n ? -amount : amount;
}

/**
 * Matches one day of one provider: each figure and each booked model is in exactly one row, by model. Of each row with a bill
 * `billed = booked + unexplained` where more was billed than booked.
 * @param costsKnown whether a bill says what the day cost
 */
export function matchDay(
  figures: readonly BilledFigure[],
  booked: readonly Booked[],
  costsKnown: boolean,
  tolerance: Tolerance,
): MatchedModel[] {
  const names = groupModels(unique(figures.map(({ model }) => model)), unique(booked.map(({ model }) => model)));
  const sides = names.map((group) =>
    sidesOf(
      group,
      figures.filter(({ model }) => group.billed.includes(model)),
      booked.filter(({ model }) => group.booked.includes(model)),
      costsKnown,
    ),
  );
  return bookFees(sides.toSorted(byModel)).map((both) => compared(both, tolerance));
}

/** The order of a day's rows. */
export function byModel(one: { readonly model: string }, other: { readonly model: string }): number {
  return one.model < other.model ? -1 : 1;
}

/** What bill and ledger say of one model. */
type Sides = Omit<MatchedModel, 'state' | 'unexplainedUsd'>;

function sidesOf(
  names: Names,
  figures: readonly BilledFigure[],
  booked: readonly Booked[],
  costsKnown: boolean,
): Sides {
  const billedTokens = sumKnown(figures.map(({ tokensInput, tokensOutput }) => addKnown(tokensInput, tokensOutput)));
  // On a day whose bill is known, a model that it does not name was not billed.
  const billedUsd =
    sumKnown(figures.map(({ costUsd }) => costUsd)) ?? (costsKnown && billedTokens === null ? 0n : null);
  const all = [...names.billed, ...names.booked].toSorted();
  return {
    model: all.find((name) => undated(name) === name) ?? all[0] ?? '',
    billedModels: names.billed.toSorted(),
    bookedModels: names.booked.toSorted(),
    billedUsd,
    bookedUsd: sum(booked.map(({ costUsd }) => costUsd)),
    estimatedUsd: sum(booked.map(({ estimatedUsd }) => estimatedUsd)),
    billedTokens,
    bookedTokens: sum(booked.map(({ tokens }) => tokens)),
    bookedBy: namesByProject(booked),
  };
}

function namesByProject(booked: readonly Booked[]): Record<string, readonly string[]> {
  const byProject = Map.groupBy(booked, ({ projectId }) => projectId);
  return Object.fromEntries(
    [...byProject].map(([project, own]) => [project, unique(own.map(({ model }) => model)).toSorted()]),
  );
}

/**
 * Bills list fees, as those of searches, apart from models; the ledger has them under the model of the call. So what it has
 * beyond the bills of models is booked for fees, as far as both go, in their order. No sum is changed by it.
 */
function bookFees(sides: readonly Sides[]): Sides[] {
  const [fees, surpluses] = [sides.map(feeOf), sides.map(surplusOf)];
  const moved = least(sum(fees), sum(surpluses));
  const [given, taken] = [portions(moved, fees), portions(moved, surpluses)];
  // What nobody measured goes along only where what was measured does not suffice.
  const takenEstimates = sides.map(({ bookedUsd, estimatedUsd }, nth) => {
    const portion = taken[nth] ?? 0n;
    return least(portion, most(portion - (bookedUsd - estimatedUsd), 0n));
  });
  const givenEstimates = portions(sum(takenEstimates), given);
  return sides.map((both, nth) => ({
    ...both,
    bookedUsd: both.bookedUsd + (given[nth] ?? 0n) - (taken[nth] ?? 0n),
    estimatedUsd: both.estimatedUsd + (givenEstimates[nth] ?? 0n) - (takenEstimates[nth] ?? 0n),
  }));
}

/** What was billed of something that is no model of the ledger, and has no tokens. */
function feeOf({ bookedModels, billedUsd, billedTokens }: Sides): NanoUsd {
  return bookedModels.length === 0 && billedTokens === null ? (billedUsd ?? 0n) : 0n;
}

/** What of a model that was billed is booked beyond its bill. */
function surplusOf({ billedUsd, bookedUsd }: Sides): NanoUsd {
  return billedUsd !== null && billedUsd > 0n && bookedUsd > billedUsd ? bookedUsd - billedUsd : 0n;
}

/** Shares an amount out: to each as much as it can take, in their order. */
function portions(amount: bigint, rooms: readonly bigint[]): bigint[] {
  let rest = amount;
  return rooms.map((room) => {
    const portion = least(rest, room);
    rest -= portion;
    return portion;
  });
}

function compared(sides: Sides, tolerance: Tolerance): MatchedModel {
  const { billedUsd, bookedUsd } = sides;
  const drift = billedUsd === null ? 0n : billedUsd - bookedUsd;
  return { ...sides, state: stateOf(sides, drift, tolerance), unexplainedUsd: drift > 0n ? drift : 0n };
}

function stateOf({ billedUsd, billedTokens, bookedTokens }: Sides, drift: NanoUsd, tolerance: Tolerance): MatchState {
  if (billedUsd !== null) return isBeyond(drift, billedUsd, tolerance) ? 'drifted' : 'reconciled';
  const billed = billedTokens ?? 0n;
  return isBeyondShare(billed - bookedTokens, billed, tolerance.basisPoints) ? 'drifted' : 'tokens_agree';
}

/** The project with the most attempts; of several the first by id. Null where there is none. */
export function busiestProject(booked: readonly Booked[]): string | null {
  const attempts = new Map<string, bigint>();
  for (const { projectId, attempts: more } of booked) attempts.set(projectId, (attempts.get(projectId) ?? 0n) + more);
  const ranked = [...attempts].filter(([, count]) => count > 0n);
  const [first] = ranked.toSorted(([a, many], [b, more]) => (many === more ? (a < b ? -1 : 1) : many > more ? -1 : 1));
  return first?.[0] ?? null;
}

/**
 * What of an import says something new, as whole figures: what it does not say stays as it was, and what was billed on a
 * day that it tells in full, and is not in it, becomes 0.
 * @param known the figures in force of the days that the import is about
 */
export function changedFigures(
  known: readonly BilledFigure[],
  told: readonly BilledFigure[],
  wholeDays: ReadonlySet<string>,
): BilledFigure[] {
  const before = new Map(known.map((figure) => [keyOf(figure), figure]));
  const said = new Set(told.filter(({ costUsd }) => costUsd !== null).map(keyOf));
  const gone = known.filter(
    (figure) => (figure.costUsd ?? 0n) > 0n && wholeDays.has(dayKey(figure)) && !said.has(keyOf(figure)),
  );
  const next = new Map(told.map((figure) => [keyOf(figure), merged(before.get(keyOf(figure)), figure)]));
  for (const figure of gone) next.set(keyOf(figure), { ...(next.get(keyOf(figure)) ?? figure), costUsd: 0n });
  return [...next].filter(([key, figure]) => !isSame(before.get(key), figure)).map(([, figure]) => figure);
}

/**
 * A figure that would count a model a second time: what it cost that day is known under its name with a date, or without
 * one, and stays in force. A bill that tells both names itself knows them apart.
 * @returns null where there is none
 */
export function countedTwice(
  known: readonly BilledFigure[],
  told: readonly BilledFigure[],
  wholeDays: ReadonlySet<string>,
): { readonly told: BilledFigure; readonly known: BilledFigure } | null {
  const costs = ({ costUsd }: BilledFigure) => (costUsd ?? 0n) > 0n;
  const said = new Set(told.map(keyOf));
  const staying = Map.groupBy(
    known.filter((figure) => costs(figure) && !said.has(keyOf(figure)) && !wholeDays.has(dayKey(figure))),
    dayKey,
  );
  for (const figure of told.filter(costs)) {
    const other = staying.get(dayKey(figure))?.find(({ model }) => isAlias(model, figure.model));
    if (other) return { told: figure, known: other };
  }
  return null;
}

/** Names a provider's day in a set. */
export function dayKey({ provider, day }: Pick<BilledFigure, 'provider' | 'day'>): string {
  return JSON.stringify([provider, day]);
}

function keyOf({ provider, day, model }: BilledFigure): string {
  return JSON.stringify([provider, day, model]);
}

function merged(before: BilledFigure | undefined, told: BilledFigure): BilledFigure {
  if (before === undefined) return told;
  const tokens = told.tokensInput === null ? before : told;
  const { tokensInput, tokensOutput } = tokens;
  return { ...told, costUsd: told.costUsd ?? before.costUsd, tokensInput, tokensOutput };
}

function isSame(before: BilledFigure | undefined, after: BilledFigure): boolean {
  return (
    before?.costUsd === after.costUsd &&
    before.tokensInput === after.tokensInput &&
    before.tokensOutput === after.tokensOutput
  );
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}

function sumKnown(amounts: readonly (bigint | null)[]): bigint | null {
  const known = amounts.filter((amount) => amount !== null);
  return known.length === 0 ? null : sum(known);
}

function addKnown(one: bigint | null, other: bigint | null): bigint | null {
  return one === null || other === null ? null : one + other;
}

function least(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

function most(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}
