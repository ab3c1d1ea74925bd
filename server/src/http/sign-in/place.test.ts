import { expect, it } from 'vitest';
import { placeOf } from './place.ts';

it.each<[string, string | null, string, boolean]>([
  ['gate.example', 'https://gate.example', 'https://gate.example', true],
  ['Gate.Example', 'https://gate.example', 'https://gate.example', true],
  // A proxy may write the port out; browsers never do.
  ['gate.example:443', 'https://gate.example', 'https://gate.example', true],
  ['gate.example:8443', 'https://gate.example:8443', 'https://gate.example:8443', true],
  ['gate.example:80', 'https://gate.example', 'http://gate.example', false],
  ['gate.example:8443', 'https://gate.example', 'http://gate.example:8443', false],
  ['127.0.0.1:8080', 'https://gate.example', 'http://127.0.0.1:8080', false],
  ['localhost:80', null, 'http://localhost', false],
  ['[::1]:8080', null, 'http://[::1]:8080', false],
  ['127.0.0.1', 'http://127.0.0.1', 'http://127.0.0.1', false],
])('who comes to %s, where PUBLIC_URL is %s, is at %s', (host, publicUrl, origin, secure) => {
  expect(placeOf({ headers: { host } }, publicUrl)).toEqual({ origin, secure });
});
