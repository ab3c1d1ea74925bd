import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as limits from '../../base/limits.ts';
import type { Facts } from '../facts.ts';
import { someFacts } from '../testing/facts.ts';
import { functionNames } from './calls.ts';
import { compileCondition } from './condition.ts';
import { variables } from './environment.ts';

const page = readFileSync(new URL('../../../../docs/policy-conditions.md', import.meta.url), 'utf8');
const recipes = page.slice(page.indexOf('## Recipes')).matchAll(/### (.+)\n\n```cel\n([^]*?)```/g);

const { principal, resource } = someFacts();
const asked = (name: string, args: unknown = {}) => someFacts({ resource: { ...resource, name }, args });
const called = (known: Partial<Facts['principal']>) => ({ ...principal, ...known });
const at = (time: string, name = 'planner') => someFacts({ time: Date.parse(time), principal: called({ name }) });

/** For each recipe a call for which it holds and one for which it does not. */
const examples: Readonly<Record<string, readonly [holds: Facts, doesNot: Facts]>> = {
  'Deny what could not be seen whole': [
    someFacts({ args: { prompt: 'x'.repeat(10_000), truncated: false } }),
    someFacts({ args: { prompt: 'x' } }),
  ],
  'A model for one team alone': [
    someFacts({ resource: { ...resource, name: 'claude-opus-4' }, principal: called({ teams: ['team_web'] }) }),
    asked('claude-opus-4'),
  ],
  'Some models for agents never': [
    asked('o3-pro'),
    someFacts({ resource: { ...resource, name: 'o3-pro' }, principal: called({ kind: 'operator' }) }),
  ],
  'A family of models by pattern': [asked('gpt-5-mini-2026-01-31'), asked('gpt-5-pro')],
  'No long answers': [asked('m', { max_output_tokens: 8193 }), asked('m', {})],
  'An answer limit by model': [
    asked('gpt-5-mini', { max_output_tokens: 3000 }),
    asked('claude-haiku', { max_output_tokens: 3000 }),
  ],
  'A forbidden tool': [
    asked('m', { tools: ['search', 'delete_user'], tools_elsewhere: false }),
    asked('m', { tools: ['search'], tools_elsewhere: false }),
  ],
  'Tools by an allow-list': [
    asked('m', { tools: ['search', 'write_file'], tools_elsewhere: false }),
    asked('m', { tools: ['search', 'read_file'], tools_elsewhere: false }),
  ],
  'Too many tools, or too large a request': [
    asked('m', { tool_count: 3, body_bytes: 2_000_000 }),
    asked('m', { tool_count: 3, body_bytes: 2_000 }),
  ],
  'Working hours in Berlin': [at('2026-11-23T07:30:00Z', 'batch-1'), at('2026-11-23T17:30:00Z', 'batch-1')],
  'A freeze over the holidays': [at('2026-12-24T00:00:00Z'), at('2027-01-04T00:00:00Z')],
  'Calls outside of a run': [someFacts(), someFacts({ run: { id: 'run_1', workflow: 'nightly' } })],
  "A workflow that needs a person's approval": [
    { ...asked('deploy'), action: 'runs.start' },
    { ...asked('test'), action: 'runs.start' },
  ],
  'Data that must stay with one provider': [
    someFacts({ principal: called({ teams: ['team_eu'] }) }),
    someFacts({ principal: called({ teams: ['team_eu'] }), resource: { ...resource, provider: 'eu-vertex' } }),
  ],
  'Everything but what is meant, for one key': [
    someFacts({ principal: called({ key: 'key_ci' }) }),
    someFacts({
      principal: called({ key: 'key_ci' }),
      resource: { ...resource, name: 'claude-haiku-4' },
      run: { id: 'run_1', workflow: 'ci' },
    }),
  ],
};

describe('docs/policy-conditions.md', () => {
  const written = new Map([...recipes].map(([, title = '', text = '']) => [title, text]));

  test('has a recipe for each example', () => {
    expect([...written.keys()]).toEqual(Object.keys(examples));
  });

  test.each(Object.entries(examples))('%s: holds where it should, and only there', (title, [holds, doesNot]) => {
    const compiled = compileCondition(written.get(title) ?? '');
    if ('problem' in compiled) throw new Error(compiled.problem.message);
    expect([compiled.condition.evaluate(holds), compiled.condition.evaluate(doesNot)]).toEqual([true, false]);
  });

  test('names every variable and function', () => {
    for (const name of [...variables.keys(), ...functionNames])
      expect(page).toMatch(new RegExp(`\`(\\w+ )?${name}[(\`]`));
  });

  test('states the limits that hold, and nobody is in more teams than a condition sees', () => {
    expect(limits.teamsPerPersonMax).toBeLessThanOrEqual(limits.factEntriesMax);
    const stated = [
      `${limits.conditionCharsMax.toLocaleString('en-US')} characters, ${limits.conditionDepthMax} levels deep`,
      `${limits.conditionCostNsMax / 1e3} µs`,
      `${limits.policyCostNsMax / 1e6} ms`,
      `${limits.patternCharsMax} characters`,
      `${limits.argumentTextBytesMax.toLocaleString('en-US')} bytes, ${limits.argumentKeyBytesMax} bytes`,
      `${limits.argumentsSizeMax / 1024} KiB`,
      `${limits.argumentValueSize} bytes for each value`,
      `${limits.factTextCharsMax.toLocaleString('en-US')} characters, ${limits.factEntriesMax}, ${limits.factEntryCharsMax}`,
    ];
    for (const words of stated) expect(page).toContain(words);
    expect(page).toMatch(new RegExp(`in \`args\`\\s+\\| ${limits.argumentEntriesMax}\\s+\\|`));
    expect(page).toMatch(new RegExp(`maps in \`args\`\\s+\\| ${limits.argumentDepthMax}\\s+\\|`));
  });
});
