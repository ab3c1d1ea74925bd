import { expect, it } from 'vitest';
import { readCookie } from './cookies.ts';

const place = { origin: 'http://127.0.0.1', secure: false };
const read = (cookie: string | undefined) =>
  readCookie({ headers: cookie === undefined ? {} : { cookie } }, 'session', place);

it.each<[string | undefined, string | null]>([
  [undefined, null],
  ['', null],
  ['portcullis-session=a', 'a'],
  ['other=b; portcullis-session = a ;x=y', 'a'],
  ['portcullis-session=', null],
  ['portcullis-session', null],
  // What has no name at all is no pair (RFC 6265, 5.2).
  ['portcullis-sessionX; portcullis-session=a', 'a'],
  ['=portcullis-session; portcullis-session=a=b', 'a=b'],
])('of the cookies %j the session is %j', (cookies, session) => {
  expect(read(cookies)).toBe(session);
});
