import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { testContext } from '../../../test/support/cli.ts';
import { UsageTotalsSchema } from '../gen/portcullis/v1/analytics_pb.ts';
import { localTime, printAnswer, printFields, printTable } from './output.ts';

const columns = [
  { title: 'NAME' },
  { title: 'COST', align: 'right' as const },
  { title: 'STATE', format: () => 'red' as const },
];

function tableOf(rows: string[][], setting: Parameters<typeof testContext>[0] = {}) {
  const { context, written } = testContext(setting);
  printTable(context, columns, rows, 'Nothing.');
  return written();
}

describe('a table', () => {
  test('aligns its columns by what a terminal shows, wide characters included', () => {
    const { stdout } = tableOf([
      ['reviewer', '$0.25', 'active'],
      ['审查员', '$12.00', 'disabled'],
    ]);
    expect(stdout).toBe(
      ['NAME        COST  STATE', 'reviewer   $0.25  active', '审查员    $12.00  disabled', ''].join('\n'),
    );
  });

  test('shows a hostile name in one line and gives it no power over the terminal', () => {
    const { stdout } = tableOf([['\u001b[2Jgone\nreviewer  $0.00  active', '$1.00', 'active']], {
      isTTY: true,
      environment: { NO_COLOR: '1' },
    });
    expect(stdout.split('\n')).toHaveLength(3);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toContain('\\x1b[2Jgone\\nreviewer');
  });

  test('is coloured for a person at a terminal alone', () => {
    const row = [['reviewer', '$0.25', 'active']];
    expect(tableOf(row, { isTTY: true }).stdout).toContain('\u001b[31mactive\u001b[39m');
    expect(tableOf(row, { isTTY: true, environment: { NO_COLOR: '1' } }).stdout).not.toContain('\u001b');
    expect(tableOf(row).stdout).not.toContain('\u001b');
  });

  test('without rows says so beside the output, where no program reads it', () => {
    expect(tableOf([])).toEqual({ stdout: '', stderr: 'Nothing.\n' });
  });

  test('cuts a long cell', () => {
    expect(tableOf([['x'.repeat(500), '$1.00', 'active']]).stdout.split('\n')[1]?.length).toBeLessThan(100);
  });
});

describe('one thing', () => {
  test('is shown a line a member, without the members that have no value', () => {
    const { context, written } = testContext();
    printFields(context, [
      ['id', 'agt_1'],
      ['description', ''],
      ['created by', 'psn_1'],
    ]);
    expect(written().stdout).toBe('id          agt_1\ncreated by  psn_1\n');
  });
});

describe('an answer as JSON', () => {
  test('has 64-bit numbers as text and every member', () => {
    const { context, written } = testContext();
    printAnswer(context, UsageTotalsSchema, create(UsageTotalsSchema, { costNanousd: 9_007_199_254_740_993n }));
    expect(JSON.parse(written().stdout)).toMatchObject({ costNanousd: '9007199254740993', attempts: '0' });
  });
});

describe('a time', () => {
  test('is local, to the second, or the words for none', () => {
    expect(localTime(timestampFromDate(new Date(2026, 0, 31, 14, 5, 9)))).toBe('2026-01-31 14:05:09');
    expect(localTime(undefined, 'never')).toBe('never');
  });
});
