const bars = '▁▂▃▄▅▆▇█';

/**
 * Amounts as a line of bars, the highest the greatest; a dot is nothing. Where there are more of them than columns, neighbours
 * are added up.
 */
export function sparkline(amounts: readonly number[], columnsMax = 75): string {
  const perColumn = Math.ceil(amounts.length / columnsMax);
  const columns = Array.from({ length: Math.ceil(amounts.length / perColumn) || 0 }, (_, at) =>
    amounts.slice(at * perColumn, (at + 1) * perColumn).reduce((sum, amount) => sum + amount, 0),
  );
  const most = Math.max(...columns);
  return columns.map((sum) => (sum > 0 ? bars[Math.ceil((sum / most) * bars.length) - 1] : '·')).join('');
}
