import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { isStrong } from '../config/production.ts';
import { parseDuration } from './durations.ts';

describe('a wrong command line', () => {
  test.each([
    [['nothing']],
    [['keys', 'creat']],
    [['keys', 'create', '--bogus']],
    [['keys', 'create', '--scope', 'everything']],
    [['keys', 'create', '--expires', '90']],
    [['keys', 'create', '--expires', '0d']],
    [['keys', 'rotate']],
    [['agents', 'create']],
    [['agents', 'create', 'a', 'b']],
    [['agents', 'list', '--limit', '0']],
    [['run']],
    [['run', '--budget', 'much', 'true']],
    [['run', '--expires', 'soon', 'true']],
    [['run', '--bogus', 'true']],
    [['import', 'litellm']],
    [['runs', 'finish', 'run_1', '--outcome', 'running-late']],
    [['budgets', 'create', 'daily']],
    [['budgets', 'create', 'daily', '--window', 'week']],
    [['budgets', 'create', 'daily', '--window', 'day', '--unit', 'euro']],
    [['kill', 'on', '--scope', 'everything']],
    [['kill', 'on', '--scope', 'agent', '--reason', 'r']],
    [['kill', 'on', '--scope', 'everything:now', '--reason', 'r']],
    [['kill', 'off', 'tool:x']],
    [['kill', 'drill', '--scope', 'everything', '--for', 'ever']],
    [['kill', 'confirm']],
    [['people', 'set-roles', 'ada@example.com']],
    [['people', 'set-roles', 'ada@example.com', 'king']],
    [['usage', '--by', 'mood']],
    [['usage', 'attempts', '--since', 'yesterday']],
    [['runs', 'rate', 'run_1', '6']],
    [['runs', 'evaluate', 'run_1', 'judge', '1.5']],
    [['leaderboard', 'fix-bug', '--weights', 'luck=1']],
    [['leaderboard', 'fix-bug', '--weights', 'cost=1,cost=2']],
    [['leaderboard', 'fix-bug', '--days', '0']],
    [['leaderboard', 'fix-bug', '--preset', 'lucky']],
    [['leaderboard', 'publish', 'fix-bug']],
    [['prompts', 'register', 'fix-bug']],
    [['secrets', 'generate', '--count', '1000']],
    [['completion', 'cmd']],
  ])('%j is told so on standard error, with exit code 2', async (args) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error: /);
  });

  test('names what is missing when a group of commands is called by itself', async () => {
    const { code, stderr } = await runCommand(['keys']);
    expect(code).toBe(2);
    expect(stderr).toContain('create [options]');
  });
});

describe('portcullis --help', () => {
  test('lists each command once and exits with 0', async () => {
    const { code, stdout } = await runCommand(['--help']);
    expect(code).toBe(0);
    for (const name of [
      'add',
      'import',
      'agents',
      'keys',
      'run',
      'runs',
      'budgets',
      'kill',
      'usage',
      'projects',
      'people',
      'teams',
      'sessions',
      'logins',
      'login',
      'logout',
      'token',
      'whoami',
      'config',
      'secrets',
      'doctor',
      'completion',
    ])
      expect([name, stdout.match(new RegExp(`^  ${name}( |$)`, 'gm'))?.length]).toEqual([name, 1]);
  });
});

describe('a length of time', () => {
  test('is a whole number and a unit', () => {
    expect(parseDuration('45s')).toBe(45_000);
    expect(parseDuration('30m')).toBe(1_800_000);
    expect(parseDuration('1h')).toBe(3_600_000);
    expect(parseDuration('90d')).toBe(7_776_000_000);
    expect(parseDuration('2w')).toBe(1_209_600_000);
    for (const text of ['', '1', 'd', '-1d', '1.5h', '0h', '1y', ' 1h', '1h ', '1e3s'])
      expect(() => parseDuration(text)).toThrow(/Write a length/);
  });
});

describe('portcullis secrets generate', () => {
  test('prints strong secrets that differ, one a line', async () => {
    const { stdout } = await runCommand(['secrets', 'generate', '--count', '100']);
    const secrets = stdout.trimEnd().split('\n');
    expect(new Set(secrets).size).toBe(100);
    for (const secret of secrets) {
      expect(secret).toMatch(/^[0-9A-Za-z]{43}$/);
      expect(isStrong(secret)).toBe(true);
    }
  });
});
