import type { BenchResult, Sample } from './result.ts';
import { round } from './statistics.ts';

/** The result for people: a table for each workload, then the ratios and the bars that were missed. */
export function toText(result: BenchResult): string {
  const { machine } = result;
  const targets = Object.entries(result.targets);
  const workloads = [...new Set(targets.flatMap(([, figures]) => Object.keys(figures.workloads)))];
  const sections = workloads.map((workload) => {
    const rows = targets.flatMap(([name, { workloads, samples }]) => {
      const figures = workloads[workload];
      return figures === undefined ? [] : [{ name, figures, rounds: samples[workload] ?? [] }];
    });
    return `${workload}\n${table(rows)}`;
  });
  return [
    `${result.bench} on ${machine.cpu}, ${machine.cores} cores${machine.pinned ? ' (target pinned to one)' : ''}, ` +
      `Node ${machine.node}, Linux ${machine.kernel}, load ${machine.load_average}, commit ${machine.disk_commit_ms} ms`,
    Object.entries(result.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    ...sections,
    `ratios\n${Object.entries(result.ratios)
      .map(([name, value]) => `  ${name.padEnd(34)} ${value}`)
      .join('\n')}`,
    ...Object.entries(result.unavailable).map(([name, reason]) => `not measured: ${name}: ${reason}`),
    result.missed.length === 0
      ? 'every bar is kept'
      : `missed\n${result.missed.map((bar) => `  ${bar.ratio}: ${bar.measured ?? 'not measured'}, the bar is ${limit(bar)}`).join('\n')}`,
  ].join('\n\n');
}

function limit({ atMost, atLeast }: { atMost?: number; atLeast?: number }): string {
  return atMost === undefined ? `>= ${atLeast}` : `<= ${atMost}`;
}

interface Row {
  readonly name: string;
  readonly figures: Sample;
  readonly rounds: readonly Sample[];
}

function table(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const cells = [['', ...columns], ...rows.map((row) => [row.name, ...columns.map((column) => cell(row, column))])];
  const widths = ['', ...columns].map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) => row.map((text, column) => text[column === 0 ? 'padEnd' : 'padStart'](widths[column] ?? 0)).join('  '))
    .map((line) => `  ${line}`)
    .join('\n');
}

const throughputs = new Set(['rps', 'pairs_per_s']);

/** The figure, and for throughput how far the rounds lie apart. */
function cell({ figures, rounds }: Row, column: string): string {
  const value = String(figures[column] ?? '-');
  if (!throughputs.has(column) || rounds.length < 2) return value;
  const all = rounds.map((sample) => sample[column] ?? Number.NaN);
  return `${value} (${round(Math.min(...all))}-${round(Math.max(...all))})`;
}
