import { describe, expect, it } from 'vitest';
import { isTrustDomain, parseSpiffeId } from './spiffe-id.ts';

describe('a SPIFFE id', () => {
  it('has a trust domain and segments', () => {
    expect(parseSpiffeId('spiffe://example.org/agent/builder_1.x-2')).toEqual({
      trustDomain: 'example.org',
      segments: ['agent', 'builder_1.x-2'],
    });
    expect(parseSpiffeId('spiffe://example.org')).toEqual({ trustDomain: 'example.org', segments: [] });
    expect(parseSpiffeId(`spiffe://e/${'a'.repeat(2037)}`)).not.toBeNull();
  });

  it.each([
    '',
    'spiffe:',
    'spiffe://',
    'spiffe:///agent/x',
    'SPIFFE://example.org/agent/x',
    'https://example.org/agent/x',
    ' spiffe://example.org/agent/x',
    'spiffe://example.org/agent/x ',
    'spiffe://example.org/agent/x\n',
    'spiffe://Example.org/agent/x',
    'spiffe://example.org:443/agent/x',
    'spiffe://user@example.org/agent/x',
    'spiffe://[::1]/agent/x',
    'spiffe://exämple.org/agent/x',
    'spiffe://example.org/agent/x/',
    'spiffe://example.org//agent/x',
    'spiffe://example.org/agent//x',
    'spiffe://example.org/agent/./x',
    'spiffe://example.org/other/../agent/x',
    'spiffe://example.org/agent/x?y',
    'spiffe://example.org/agent/x#y',
    'spiffe://example.org/agent/%78',
    'spiffe://example.org/agent/x\0',
    'spiffe://example.org/agent/x, URI:spiffe://example.org/agent/y',
    `spiffe://${'a'.repeat(256)}/agent/x`,
    `spiffe://e/${'a'.repeat(2038)}`,
  ])('is not %j', (text) => {
    expect(parseSpiffeId(text)).toBeNull();
  });
});

it('a trust domain is a name in lower case', () => {
  expect(isTrustDomain('prod_1.example-a.org')).toBe(true);
  for (const text of ['', 'Example.org', 'a/b', 'a:1', 'a b', 'a'.repeat(256)]) expect(isTrustDomain(text)).toBe(false);
});
