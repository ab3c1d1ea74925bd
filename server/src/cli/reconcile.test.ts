import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { closedDays, parseDay } from './reconcile/days.ts';

test.each([
  [['import', 'anthropic', 'a.json']],
  [['import', 'anthropic', '--provider', 'claude', '--key', 'secret']],
  [['import', 'csv']],
  [['import', 'csv', 'a.csv', 'b.csv']],
  [['import', 'csv', 'a.csv', '--since', 'yesterday']],
  [['import', 'csv', 'a.csv', '--since', '2026-02-30']],
  [['show', '--state', 'fine']],
  [['show', '--limit', '0']],
  [['check', '--tolerance-percent', '101']],
  [['check', '--tolerance-percent', '-1']],
  [['check', '--tolerance-percent', '0.001']],
  [['check', '--tolerance-usd', 'much']],
])('reconcile %j is told to be wrong on standard error, with exit code 2', async (args) => {
  const { code, stdout, stderr } = await runCommand(['reconcile', ...args]);
  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^error: /);
});

describe('days', () => {
  test('are dates that are, or so many days ago', () => {
    expect(parseDay('2026-02-28')).toBe('2026-02-28');
    expect(Date.now() - Date.parse(parseDay('1w'))).toBeGreaterThanOrEqual(7 * 86_400_000);
    for (const text of ['', '2026-02-29', '2026-2-1', '1h', '0d', 'today', '1999-01-01']) {
      expect(() => parseDay(text)).toThrow('Write a day');
    }
  });

  test('end with the last one that is over, unless they are to end earlier', () => {
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    expect(closedDays({}, 30).lastDay).toBe(yesterday);
    expect(closedDays({ until: '2099-01-01' }, 30).lastDay).toBe(yesterday);
    expect(closedDays({ until: '2026-01-31' }, 31)).toEqual({ firstDay: '2026-01-01', lastDay: '2026-01-31' });
    expect(closedDays({ since: '2026-01-05', until: '2026-01-31' }, 31).firstDay).toBe('2026-01-05');
  });
});
