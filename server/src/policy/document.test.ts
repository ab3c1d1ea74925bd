import { expect, test } from 'vitest';
import { policyRulesMax } from '../base/limits.ts';
import { checkDocument, emptyDocument, type Rule } from './document.ts';

function denyWhere(condition: string, at = 0): Rule {
  return { name: `r${at}`, actions: ['models.invoke'], condition, effect: { kind: 'deny' }, mode: 'enforce' };
}

test('a document whose patterns take long to make is refused before they are made, and names the rule', async () => {
  const pattern = (seed: number) => `resource.name.matches("x${seed}\\\\pL\\\\PL\\\\pL\\\\PL\\\\pL")`;
  const condition = (seed: number) => Array.from({ length: 3 }, (_, at) => pattern(seed * 10 + at)).join(' && ');
  const rules = Array.from({ length: policyRulesMax }, (_, at) => denyWhere(condition(at), at));
  await expect(checkDocument({ ...emptyDocument, rules })).rejects.toMatchObject({
    code: 'invalid_argument',
    message: expect.stringMatching(/^The patterns of the rules up to "r\d+" have too many states together/) as string,
  });
});

test('what is compiled gives way to other work', async () => {
  // Texts that no other test has.
  const long = (at: number) => Array.from({ length: 40 }, (_, n) => `resource.name == 'way ${at} ${n}'`).join(' || ');
  const rules = Array.from({ length: 40 }, (_, at) => denyWhere(long(at), at));
  let turns = 0;
  const count = () => {
    turns++;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  await checkDocument({ ...emptyDocument, rules });
  clearImmediate(timer);
  expect(turns).toBeGreaterThan(3);
});
