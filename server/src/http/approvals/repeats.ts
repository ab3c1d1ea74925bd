import type { RepeatGrant } from '../../approval/grants.ts';
import type { Approval } from '../../approval/model.ts';

interface NamedRepeat {
  readonly name: string;
  readonly title: string;
  readonly grant: RepeatGrant | null;
}

const hourMs = 3_600_000;

/** What a page offers: for how many more calls an approval counts. The first is what nobody chose. */
export const repeats: readonly NamedRepeat[] = [
  { name: '', title: 'This once', grant: null },
  {
    name: 'same',
    title: 'And 10 more of the very same, within an hour',
    grant: { uses: 10, withinMs: hourMs, anyArguments: false },
  },
  {
    name: 'any',
    title: 'And 10 more with whatever arguments, within an hour',
    grant: { uses: 10, withinMs: hourMs, anyArguments: true },
  },
];

/** Where one person alone may let more than one call through. */
export function mayRepeat({ kind, risk, quorum }: Pick<Approval, 'kind' | 'risk' | 'quorum'>): boolean {
  return (kind === 'tool_call' || kind === 'model_call') && risk !== 'high' && quorum === 1;
}
