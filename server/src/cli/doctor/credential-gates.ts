import { withDotEnv } from '../../config/environment.ts';
import { formatApiKey, generateApiKey } from '../../identity/api-key.ts';
import { type DeploymentGate, expectStatus, NotTested, ownOf } from './deployment-gate.ts';
import { probe, type ProbeAnswer } from './probe.ts';
import { bearer, control, listAgents, modelCall, self } from './requests.ts';

/**
 * Whether credentials are asked for and what a bad one gets. Five failures in five minutes are free for an address, and
 * these gates present five bad credentials; when more come a gate answers 429, which lets nobody in either.
 */
export const credentialGates: readonly DeploymentGate[] = [
  {
    name: 'no credential',
    check: async ({ api, model }) => {
      const call = modelCall(model, { secret: '' });
      expectRefusal('the control API', await probe(api.url, control(self)));
      expectRefusal('a model call', await probe(api.url, { ...call, headers: { 'content-type': 'application/json' } }));
      expectRefusal('the list of models', await probe(api.url, { path: '/v1/models' }));
      expectRefusal('/metrics', await probe(api.url, { path: '/metrics' }));
      return 'refused on control, models and metrics';
    },
  },
  {
    name: 'wrong key',
    check: async ({ api }) => {
      const id = { 'x-request-id': 'doctor-wrong-key' };
      const key = bearer({ secret: formatApiKey(generateApiKey()) });
      const wrong = await probe(api.url, control(self, { ...key, ...id }));
      expectRefusal('a key that nobody made', wrong);
      const missing = await probe(api.url, control(self, id));
      if (wrong.status === 429 || missing.status === 429) throw new NotTested(throttled);
      if (wrong.text !== missing.text) throw new Error('the answer tells a wrong key from a missing one');
      return '401, in the same words as without a key';
    },
  },
  {
    name: 'revoked key',
    check: async (subject) => {
      const answer = await probe(subject.api.url, modelCall(subject.model, ownOf(subject).ended));
      expectRefusal('a revoked key', answer);
      return `${answer.status}`;
    },
  },
  {
    name: 'credential in a URL',
    check: async (subject) => {
      const path = `/v1/models?key=${ownOf(subject).caller.secret}`;
      const answer = await probe(subject.api.url, { path });
      expectRefusal('a good key in the query', answer);
      return `${answer.status}`;
    },
  },
  {
    name: 'legacy credentials',
    check: async ({ api, context }) => {
      const environment = withDotEnv(context.environment, `${context.cwd}/.env`);
      const token = environment['AUTH_TOKEN'] || 'changeme';
      const user = environment['BASIC_AUTH_USER'] || 'admin';
      const basic = Buffer.from(`${user}:${environment['BASIC_AUTH_PASS'] || 'admin'}`).toString('base64');
      expectRefusal('the shared AUTH_TOKEN', await probe(api.url, control(self, bearer({ secret: token }))));
      expectRefusal('Basic', await probe(api.url, control(self, { authorization: `Basic ${basic}` })));
      return 'neither a shared token nor Basic is accepted';
    },
  },
  {
    name: 'key without a scope',
    check: async (subject) => {
      const { bare } = ownOf(subject);
      const { url } = subject.api;
      expectStatus('keys:read without the scope', await probe(url, control(listAgents, bearer(bare))), 403);
      expectStatus('a model call without the scope', await probe(url, modelCall(subject.model, bare)), 403);
      expectStatus('/metrics without the scope', await probe(url, { path: '/metrics', headers: bearer(bare) }), 403);
      return '403 on control, models and metrics';
    },
  },
];

const throttled = 'this address presented too many bad credentials lately: refused with 429; try again in five minutes';

function expectRefusal(what: string, answer: ProbeAnswer): void {
  if (answer.status === 429 && answer.headers['retry-after'] !== undefined) return;
  expectStatus(what, answer, 401);
}
