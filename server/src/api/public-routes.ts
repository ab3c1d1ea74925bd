/**
 * Every route that answers without a credential, and why it may. The one reviewed list: a test knocks at every route of
 * every listener and finds no other.
 */

export interface PublicRoute {
  /** HEAD goes with GET. */
  readonly method: 'GET' | 'POST' | 'OPTIONS';
  readonly path: string;
  readonly why: string;
}

const reflectionWhy =
  'Reflection, only with ENABLE_REFLECTION, which production refuses: the schema, which is public in this repository.';

export const publicRoutes: readonly PublicRoute[] = [
  { method: 'GET', path: '/healthz', why: 'Says that the process lives. Touches nothing.' },
  {
    method: 'GET',
    path: '/readyz',
    why: 'Says to load balancers, which hold no credential, whether to send work here: a word for each dependency. Who asks at the same time shares one look.',
  },
  {
    method: 'POST',
    path: '/grpc.health.v1.Health/Check',
    why: 'The same for gRPC clients and orchestrators, as one bit.',
  },
  {
    method: 'POST',
    path: '/grpc.health.v1.Health/Watch',
    why: 'The same as it changes. Watches are bounded in number.',
  },
  { method: 'POST', path: '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', why: reflectionWhy },
  { method: 'POST', path: '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo', why: reflectionWhy },
  {
    method: 'GET',
    path: '/',
    why: 'What Portcullis is. Tells nothing of this gate but whether a leaderboard is published. Made in memory; limited by address.',
  },
  {
    method: 'GET',
    path: '/leaderboard',
    why: 'The workflows that an operator published: titles, version labels and aggregates. Made in memory; limited by address.',
  },
  {
    method: 'POST',
    path: '/portcullis.v1.AnalyticsService/GetPublicLeaderboard',
    why: 'The same for programs. Made in memory; no credential is looked at; limited by address.',
  },
  { method: 'GET', path: '/style.css', why: 'How pages look. A file.' },
  { method: 'GET', path: '/icon.svg', why: 'What a browser shows beside their titles. A file.' },
  { method: 'GET', path: '/sign-in', why: 'Where people sign in; has no secret and no name in it.' },
  {
    method: 'POST',
    path: '/sign-in',
    why: 'Takes a key in its form and answers with a session. Only from our own Origin; attempts are limited by address.',
  },
  {
    method: 'POST',
    path: '/sign-in/start',
    why: 'Sends a browser to the identity provider. Only from our own Origin; limited by address.',
  },
  {
    method: 'GET',
    path: '/sign-in/callback',
    why: 'Where the identity provider sends it back: what it brings is verified with the provider.',
  },
  {
    method: 'POST',
    path: '/oauth/device_authorization',
    why: 'Begins `portcullis login`: gives a code that is worth nothing until a person who is signed in confirms it. Limited by address, and bounded in number.',
  },
  {
    method: 'POST',
    path: '/oauth/token',
    why: 'Gives a key for a confirmed device code, a refresh credential, or the token of a registered agent: what is presented is the credential. Limited by address.',
  },
  {
    method: 'POST',
    path: '/oauth/revoke',
    why: 'Ends the login whose refresh credential is presented, and tells nothing. Limited by address.',
  },
  {
    method: 'OPTIONS',
    path: '*',
    why: 'Preflights of browsers, which carry no credential, where ALLOWED_ORIGINS names any: says which headers may be sent.',
  },
];
