/** What an export tells of, in this order: what is named by others comes before them. */
export const exportKinds = [
  'project',
  'team',
  'person',
  'agent',
  'key',
  'budget',
  'policy_version',
  'kill_switch',
  'prompt_version',
  'published_workflow',
  'run',
  'run_event',
  'attempt',
  'reported_attempt',
  'rating',
  'evaluation',
  'benchmark',
  'task',
  'note',
  'changelog_entry',
] as const;
export type ExportKind = (typeof exportKinds)[number];

export type ExportCounts = Readonly<Partial<Record<ExportKind, number>>>;

/** How far an export has come: all that is needed to go on, in whichever process. */
export interface ExportPlace {
  /** Epoch milliseconds. */
  readonly begunAt: number;
  /** What was committed when it began (a pg_snapshot): of what is only ever appended, no other rows are told. */
  readonly snapshot: string;
  /** The project's newest attempt then; null for none. Ids do not follow commits, but none of theirs is above it. */
  readonly newestAttempt: string | null;
  readonly kinds: readonly ExportKind[];
  /** What is told next; null when all is told. */
  readonly kind: ExportKind | null;
  /** What was told last of the kind; null before the first. */
  readonly cursor: string | null;
  /** What was told so far. */
  readonly counts: ExportCounts;
}

/** The place before anything is told. @param kinds in whatever order; none is all */
export function firstPlace(
  begun: Pick<ExportPlace, 'begunAt' | 'snapshot' | 'newestAttempt'>,
  kinds: readonly ExportKind[],
): ExportPlace {
  const wanted = exportKinds.filter((kind) => kinds.length === 0 || kinds.includes(kind));
  return { ...begun, kinds: wanted, kind: wanted[0] ?? null, cursor: null, counts: {} };
}

/** The place behind the last record of a kind. */
export function behindKind(place: ExportPlace): ExportPlace {
  const at = place.kinds.findIndex((kind) => kind === place.kind);
  return { ...place, kind: place.kinds[at + 1] ?? null, cursor: null };
}

// What a place is made of, its cursors included: another number for other places.
const placeForm = 1;

export function placeToText(place: ExportPlace): string {
  return JSON.stringify({ form: placeForm, ...place });
}

/** @param text what `placeToText` made @returns null for what that of another version made, and this one does not know */
export function placeFromText(text: string): ExportPlace | null {
  const { form, ...place } = JSON.parse(text) as ExportPlace & { readonly form?: number };
  const isKnown = form === placeForm && place.kinds.every((kind) => exportKinds.includes(kind));
  return isKnown ? place : null;
}
