import { type Html, html } from '../pages/html.ts';

// Five calls come from the left to the five bars of a gate. What becomes of each is told by shapes, and by colours besides.

interface Drawing {
  readonly kind: 'long' | 'tall';
  readonly width: number;
  /** Where the five bars are. */
  readonly bars: readonly [identified: number, authorized: number, held: number, stopped: number, recorded: number];
}

interface Lane {
  readonly y: number;
  /** At which bar it ends; null where it comes through. */
  readonly end: 'authorized' | 'stopped' | null;
}

const height = 184;
const top = 20;
const foot = 164;
const lanes: readonly Lane[] = [
  { y: 42, end: null },
  { y: 68, end: 'authorized' },
  { y: 94, end: null },
  { y: 120, end: 'stopped' },
  { y: 146, end: null },
];

const told =
  'Five calls of agents come to a gate of five bars. All are identified. One is refused where calls are authorized. ' +
  'The worst case of the others is held. One of them is stopped on its way. Three come through to a model. All five are recorded.';

/** The picture, for wide windows and for narrow ones; a sheet shows the one that fits. */
export function passage(): Html {
  const long = draw({ kind: 'long', width: 1120, bars: [112, 336, 560, 784, 1008] });
  const tall = draw({ kind: 'tall', width: 340, bars: [58, 114, 170, 226, 282] });
  return html`${long}${tall}`;
}

function draw({ kind, width, bars }: Drawing): Html {
  const [identified, authorized, held, stopped, recorded] = bars;
  return html`<svg class="passage ${kind}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${told}">
    <text x="0" y="14">agents</text>
    <text x="${width}" y="14" text-anchor="end">models</text>
    <path class="beam" d="M${identified - 24} ${top}H${recorded + 24}" />
    ${bars.map(bar)}
    ${lanes.map(({ y, end }) => {
      const last = end === 'authorized' ? authorized : end === 'stopped' ? stopped : width - 10;
      return html`<circle class="agent" cx="6" cy="${y}" r="5" />
        ${line('unknown', y, 16, identified)}${line('known', y, identified, authorized)}
        ${last > authorized && line('granted', y, authorized, last)}
        ${last > held && html`<circle class="hold" cx="${held}" cy="${y}" r="7" />`}
        ${end === null ? arrow(width, y) : html`${line('trace', y, last + 14, recorded)}${stop(last, y)}`}
        <rect
          class="entry ${end !== null && 'ended'}"
          x="${recorded - 6}"
          y="${y - 6}"
          width="12"
          height="12"
          rx="2"
        />`;
    })}
  </svg>`;
}

function bar(x: number): Html {
  return html`<path class="bar" d="M${x} ${top}V${foot}" /> <path class="point" d="M${x - 5} ${foot - 1}h10l-5 16z" />`;
}

function line(kind: string, y: number, from: number, to: number): Html {
  return html`<path class="${kind}" d="M${from} ${y}H${to}" />`;
}

function arrow(x: number, y: number): Html {
  return html`<path class="arrow" d="M${x - 12} ${y - 6}l12 6l-12 6z" />`;
}

function stop(x: number, y: number): Html {
  return html`<circle class="stop" cx="${x}" cy="${y}" r="8" /><path
      class="stop"
      d="M${x - 3} ${y - 3}l6 6m0 -6l-6 6"
    />`;
}
