import fc from 'fast-check';
import { expect, it } from 'vitest';
import { html } from './html.ts';

it('escapes what is put into text and attributes, and leaves markup as it is', () => {
  const inner = html`<b>${'<&>'}</b>`;
  const page = html`<p title="${`"'`}">${inner}${[inner, inner]}${null}${false}${7}</p>`;
  const bold = '<b>&lt;&amp;&gt;</b>';
  expect(page.text).toBe(`<p title="&quot;&#39;">${bold}${bold}${bold}7</p>`);
});

it('lets no text out of its place', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const { text: markup } = html`<i a="${text}">${text}</i>`;
      const escaped = markup.slice('<i a="'.length, markup.indexOf('">'));
      expect(escaped).not.toMatch(/[<>"']/);
      expect(markup).toBe(`<i a="${escaped}">${escaped}</i>`);
    }),
  );
});
