import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressPrefix, clientAddress, isInRanges, parseAddressRange, unknownAddress } from './client-address.ts';

const proxies = ['10.0.0.0/8', '2001:db8:ffff::/48'].map(parseAddressRange);

describe('the client address', () => {
  it('is the address of the socket when no proxy is trusted, whatever the header says', () => {
    expect(clientAddress('203.0.113.9', '198.51.100.1', [])).toBe('203.0.113.9');
    expect(clientAddress('203.0.113.9', '198.51.100.1', proxies)).toBe('203.0.113.9');
  });

  it('is the right-most hop that is no trusted proxy', () => {
    expect(clientAddress('10.0.0.1', '198.51.100.1', proxies)).toBe('198.51.100.1');
    expect(clientAddress('10.0.0.1', '1.1.1.1, 198.51.100.1, 10.9.9.9', proxies)).toBe('198.51.100.1');
    expect(clientAddress('2001:db8:ffff::1', '198.51.100.1', proxies)).toBe('198.51.100.1');
  });

  it('is never taken from what a client put in front of the hops', () => {
    const hop = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.constantFrom('', ' ', '10.0.0.7', 'unknown', '_hidden', '127.1', '::1%eth0'),
    );
    fc.assert(
      fc.property(fc.array(hop), (forged) => {
        const header = [...forged, '198.51.100.1', '10.2.2.2'].join(', ');
        expect(clientAddress('10.0.0.1', header, proxies)).toBe('198.51.100.1');
      }),
    );
  });

  it('is the proxy itself when the hop that it names is no address', () => {
    for (const hop of ['unknown', '', '127.1', '0x7f.0.0.1', '2130706433', '300.1.1.1', "1.1.1.1'; --"]) {
      expect(clientAddress('10.0.0.1', `8.8.8.8, ${hop}`, proxies)).toBe('10.0.0.1');
    }
  });

  it('is the left-most hop when all are trusted proxies', () => {
    expect(clientAddress('10.0.0.1', '10.0.0.3, 10.0.0.2', proxies)).toBe('10.0.0.3');
  });

  it('reads several headers as one list, and drops the port that some proxies append', () => {
    expect(clientAddress('10.0.0.1', ['1.1.1.1', '198.51.100.1:4711'], proxies)).toBe('198.51.100.1');
    expect(clientAddress('10.0.0.1', '[2001:db8::5]:443', proxies)).toBe('2001:db8::5');
  });

  it('is the same for an IPv4 address and its IPv6 form, and has no zone', () => {
    expect(clientAddress('::ffff:203.0.113.9', undefined, proxies)).toBe('203.0.113.9');
    expect(clientAddress('::ffff:10.0.0.1', '::ffff:198.51.100.1', proxies)).toBe('198.51.100.1');
    expect(clientAddress('fe80::1%eth0', undefined, proxies)).toBe('fe80::1');
  });

  it('of a socket without an address lies in no range', () => {
    expect(clientAddress(undefined, '198.51.100.1', proxies)).toBe(unknownAddress);
    expect(isInRanges(unknownAddress, [parseAddressRange('0.0.0.0/0'), parseAddressRange('::/0')])).toBe(false);
    expect(addressPrefix(unknownAddress)).toBe(unknownAddress);
  });
});

describe('an address range', () => {
  it('matches its own family only', () => {
    expect(isInRanges('10.1.2.3', proxies)).toBe(true);
    expect(isInRanges('11.1.2.3', proxies)).toBe(false);
    expect(isInRanges('2001:db8:ffff:1::1', proxies)).toBe(true);
    expect(isInRanges('10.1.2.3', [parseAddressRange('::/0')])).toBe(false);
  });

  it('may be one address, or an IPv4 range in IPv6 form', () => {
    expect(isInRanges('192.0.2.1', [parseAddressRange('192.0.2.1')])).toBe(true);
    expect(isInRanges('192.0.2.2', [parseAddressRange('192.0.2.1')])).toBe(false);
    expect(isInRanges('192.0.2.77', [parseAddressRange('::ffff:192.0.2.0/120')])).toBe(true);
    expect(isInRanges('192.0.3.77', [parseAddressRange('::ffff:192.0.2.0/120')])).toBe(false);
  });

  it('that is none is refused with a sentence that quotes it', () => {
    for (const text of [
      '',
      '10.0.0.0/33',
      '::/129',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '10.0/8',
      'localhost',
      '::ffff:1.2.3.4/95',
    ]) {
      expect(() => parseAddressRange(text)).toThrow(`"${text}" is not an address range`);
    }
  });
});

it('counts an IPv4 address alone and IPv6 addresses by their /64', () => {
  expect(addressPrefix('192.0.2.1')).toBe('192.0.2.1');
  expect(addressPrefix('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64');
  expect(addressPrefix('2001:db8:1:2::')).toBe(addressPrefix('2001:db8:1:2:ffff::1'));
  expect(addressPrefix('2001:db8:1:3::1')).not.toBe(addressPrefix('2001:db8:1:2::1'));
});
