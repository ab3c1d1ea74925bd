import { describe, expect, test } from 'vitest';
import { someFacts } from '../testing/facts.ts';
import { compileCondition } from './condition.ts';
import type { Problem } from './problem.ts';

function problemOf(text: string): Problem {
  const compiled = compileCondition(text);
  if ('problem' in compiled) return compiled.problem;
  throw new Error(`${text} was taken`);
}

/** True, false, or why it failed. */
function held(text: string, facts = someFacts()): boolean | string {
  const compiled = compileCondition(text);
  if ('problem' in compiled) throw new Error(`${text}: ${compiled.problem.message}`);
  const value = compiled.condition.evaluate(facts);
  return typeof value === 'boolean' ? value : value.message;
}

describe('a condition that cannot be saved', () => {
  test('a field that does not exist is refused with its place and the name that was meant', () => {
    expect(problemOf('principal.nmae == "x"')).toEqual({
      code: 'unknown_name',
      message: 'principal has no field nmae. Did you mean name?',
      line: 1,
      column: 10,
    });
  });

  test('the place is told by line and column', () => {
    expect(problemOf('resource.name == "a" &&\n  args.n > 1 &&\n  princpal.name == "b"')).toMatchObject({
      message: 'There is no variable princpal. Did you mean principal?',
      line: 3,
      column: 3,
    });
    expect(problemOf('true &&\n (1')).toMatchObject({ code: 'syntax', line: 2 });
  });

  test.each([
    ['', 'syntax', 'ends too early'],
    ['args.a == 1 extra', 'syntax', '"e", or what follows it'],
    ['args.a = 1', 'syntax', 'written =='],
    ['args.a == 1 and true', 'syntax', 'written &&'],
    ["args.a == 'x", 'syntax', 'does not end'],
    ['args.a == 1)', 'syntax', 'closes nothing'],
    ['"\\uD800" == "x"', 'syntax', 'cannot be read'],
    ['1', 'wrong_type', 'a condition is true or false; this one is of type int'],
    ['run == null', 'wrong_type', 'run is no value itself'],
    ['principal.name == 1', 'wrong_type', 'given string and int'],
    ['principal.name.size() > "1"', 'wrong_type', 'given int and string'],
    ['principal.name.first == "x"', 'wrong_type', 'no members'],
    ['principal.teams.exists("x", true)', 'wrong_type', 'takes a name'],
    ['size(1) == 1', 'wrong_type', 'given int'],
    ['contains("a", "b")', 'wrong_type', 'on a text'],
    ['has(args)', 'wrong_type', 'takes a member'],
    ['[1, 2].exists(x, x)', 'wrong_type', 'takes a condition'],
    ['size("a").exists(x, true)', 'wrong_type', 'loops over a list or map'],
    ['true ? 1 : "a"', 'wrong_type', 'have one type'],
    ['foo(1)', 'unknown_function', 'There is no function foo()'],
    ['principal.name.startWith("x")', 'unknown_function', 'Did you mean startsWith()?'],
    ['args.list.exists(args, true)', 'unknown_name', 'is a variable already'],
    ['args.a.matches(args.b)', 'not_constant', 'must be written out'],
    ['args.a.matches("(")', 'bad_pattern', 'no pattern of RE2'],
    ['args.a.matches("(?i)é")', 'bad_pattern', 'beyond ASCII'],
    ['time.getHours("Mars/Olympus") == 1', 'bad_constant', 'time zone'],
    ['time > timestamp("2026-02-30T00:00:00Z")', 'bad_constant', 'no timestamp'],
    ['{"a": 1, "a": 2}["a"] == 1', 'bad_constant', 'twice'],
    ['{1: 2}[1] == 2', 'not_constant', 'keys of a map'],
    ['b"x" == b"x"', 'not_supported', 'no bytes'],
    ['Message{a: 1} == 1', 'not_supported', 'no messages'],
    ['args.l.exists(x, args.l.exists(y, x == y))', 'nested', 'within another loop'],
    ['args.a.contains(args.b)', 'too_costly', 'µs'],
  ])('%s is refused as %s, and the sentence says why', (text, code, words) => {
    const problem = problemOf(text);
    expect(problem.code).toBe(code);
    expect(problem.message.toLowerCase()).toContain(words.toLowerCase());
  });
});

describe('a condition that is evaluated', () => {
  test.each([
    'action == "models.invoke" && principal.kind == "agent" && principal.agent == "agt_1"',
    '"team_web" in principal.teams && !("team_ops" in principal.teams)',
    'principal.scopes == ["models:invoke"]',
    'resource.name.startsWith("claude") && resource.name.matches("^claude-(opus|sonnet)$")',
    'time.getHours() == 10 && time.getHours("Europe/Berlin") == 11 && time.getHours("-03:30") == 6',
    'time.getDayOfWeek() == 1 && time.getDate() == 23 && time.getMonth() == 10 && time.getDayOfYear() == 326',
    'time.getDayOfYear("Asia/Tokyo") == 326 && timestamp("2024-12-31T23:00:00Z").getDayOfYear() == 365',
    'timestamp("0050-03-01T12:00:00Z").getFullYear("Europe/Berlin") == 50',
    'timestamp("2026-01-01T00:30:00.25Z").getDayOfYear("+01:00") == 0',
    'timestamp("2026-01-01T00:30:00.25Z").getMilliseconds() == 250',
    'time - duration("30m") < timestamp("2026-11-23T10:00:00Z")',
    '{"claude-sonnet": 5, "gpt": 2}[resource.name] == 5',
    '"a" + principal.name == "aplanner"',
    'string(1 + 2) + string(1.5) == "31.5" && int("7") == 7 && double("1.5") == 1.5',
    '" Ab ".trim().lowerAscii() == "ab" && "ÄbC".upperAscii() == "ÄBC" && "ÄBC".lowerAscii() == "Äbc"',
    '"a😀b".size() == 3 && "a😀b".substring(1, 2) == "😀" && "a😀b".indexOf("b") == 2',
  ])('%s holds', (text) => {
    expect(held(text)).toBe(true);
  });

  test('what a call lacks is empty, and has() tells', () => {
    expect(held('run.id == "" && !has(run.id) && principal.person == "" && !has(principal.person)')).toBe(true);
    const running = someFacts({ run: { id: 'run_1', workflow: 'nightly' } });
    expect(held('has(run.id) && run.workflow == "nightly"', running)).toBe(true);
  });

  test('numbers of arguments are doubles, and compare with whole numbers by value', () => {
    const facts = someFacts({ args: { n: 3, big: 2 ** 53 } });
    expect(held('args.n == 3 && args.n == 3.0 && args.n >= 3 && args.n in [1, 3]', facts)).toBe(true);
    expect(held('args.big == 9007199254740992 && args.big < 9007199254740993', facts)).toBe(true);
    expect(held('args.n + 1 == 4', facts)).toContain('+ is not defined');
    expect(held('int(args.n) + 1 == 4', facts)).toBe(true);
  });

  test('a missing member fails, and what decides without it absorbs that', () => {
    expect(held('args.x == 1')).toContain('there is no ".x"');
    expect(held('has(args.x) && args.x == 1')).toBe(false);
    expect(held('args.x == 1 || true')).toBe(true);
    expect(held('args.x == 1 && false')).toBe(false);
    expect(held('args.x == 1 || false')).toContain('there is no ".x"');
    expect(held('[1, 2].exists(i, i == 2 || args.x == i)')).toBe(true);
    expect(held('[1, 2].all(i, i == 1 && args.x == i)')).toBe(false);
  });

  test('members with the names of what JavaScript objects have are no members', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      expect(held(`has(args.${name}) || "${name}" in args`)).toBe(false);
      expect(held(`args.${name} == 1`)).toContain(`there is no ".${name}"`);
    }
    const sent = someFacts({ args: JSON.parse('{"__proto__": {"a": 1}, "constructor": "x"}') });
    expect(held('args.__proto__.a == 1 && args.constructor == "x" && !has(args.a)', sent)).toBe(true);
  });

  test('whole numbers have 64 bits and fail beyond them', () => {
    expect(held('9223372036854775807 + size("a") > 0')).toContain('64 bits');
    expect(held('-9223372036854775808 / -1 > 0')).toContain('64 bits');
    expect(held('1 / (size("a") - 1) > 0')).toContain('division by zero');
  });

  test('texts are ordered by code points', () => {
    expect(held('"\\uFFFD" < "\\U0001F600" && "a" < "b" && "a" < "aa" && !("b" < "a")')).toBe(true);
  });

  test('a condition that comes to something else than a bool fails', () => {
    expect(held('args.flag', someFacts({ args: { flag: 'yes' } }))).toContain('neither true nor false');
    expect(held('args.flag', someFacts({ args: { flag: true } }))).toBe(true);
  });

  test('a fact that is longer than it may be fails instead of taking long', () => {
    const facts = someFacts();
    const principal = { ...facts.principal, name: 'x'.repeat(5_000), teams: Array(500).fill('t') as string[] };
    expect(held('principal.name == "x"', { ...facts, principal })).toContain('longer than conditions may see');
    expect(held('"t" in principal.teams', { ...facts, principal })).toContain('longer than conditions may see');
  });
});
