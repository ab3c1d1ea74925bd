import { randomBytes } from 'node:crypto';
import { controlRequestBytesMax, modelBodyBytesMax } from '../../base/limits.ts';
import { loadConfig } from '../../config/config.ts';
import { isLoopback } from '../../config/production.ts';
import { type DeploymentGate, expectStatus, NotTested, ownOf } from './deployment-gate.ts';
import { probe, type ProbeAnswer } from './probe.ts';
import { bearer, control, modelCall, self } from './requests.ts';

const certificateDaysMin = 14;

const securityHeaders: readonly (readonly [name: string, wanted: RegExp])[] = [
  ['content-security-policy', /default-src 'none'/],
  ['x-content-type-options', /^nosniff$/],
  ['x-frame-options', /./],
  ['referrer-policy', /./],
  ['cross-origin-resource-policy', /./],
];

/** What a deployment shows to whoever finds it. */
export const surfaceGates: readonly DeploymentGate[] = [
  {
    name: 'healthz',
    check: async ({ api }) => {
      const answer = await probe(api.url, { path: '/healthz' });
      expectStatus('/healthz', answer, 200);
      if (answer.text.trim() !== 'ok') throw new Error('/healthz does not say ok');
      return 'alive';
    },
  },
  {
    name: 'readyz',
    check: async ({ api }) => {
      const answer = await probe(api.url, { path: '/readyz' });
      const state = JSON.parse(answer.text) as Record<string, string>;
      const parts = Object.entries(state).filter(([name]) => name !== 'timestamp');
      const said = parts.map(([name, value]) => `${name} ${value}`).join(', ');
      if (answer.status !== 200 || state['server'] !== 'ok') throw new Error(`not ready: ${said}`);
      return said;
    },
  },
  {
    name: 'security headers',
    check: async ({ api }) => {
      for (const [where, request] of [
        ['/readyz', { path: '/readyz' }],
        ['the control API', control(self)],
      ] as const) {
        const { headers } = await probe(api.url, request);
        const weak = securityHeaders.filter(([name, wanted]) => !wanted.test(String(headers[name] ?? '')));
        if (weak.length > 0) throw new Error(`${where} lacks ${weak.map(([name]) => name).join(', ')}`);
        if (headers['x-powered-by'] !== undefined) throw new Error(`${where} names its software in x-powered-by`);
      }
      return `${securityHeaders.length} headers on /readyz and the control API`;
    },
  },
  {
    name: 'TLS at the edge',
    check: async ({ context, api }) => {
      const url = loadConfig(context.environment, context.cwd).config.options.PUBLIC_URL ?? api.url;
      if (!url.startsWith('https:')) throw new NotTested('neither PUBLIC_URL nor the URL of the gate is https');
      const answer = await probe(url.replace(/\/+$/, ''), { path: '/readyz' });
      const hsts = Number(/max-age=(\d+)/.exec(answer.headers['strict-transport-security'] ?? '')?.[1] ?? 0);
      if (hsts < 31_536_000) throw new Error('Strict-Transport-Security is missing or below a year');
      const days = Math.floor(((answer.certificateEnds?.getTime() ?? 0) - Date.now()) / 86_400_000);
      if (days < certificateDaysMin) throw new Error(`the certificate ends in ${days} days`);
      return `the certificate holds for ${days} days, HSTS is on`;
    },
  },
  {
    name: 'unknown Host',
    check: async ({ api }) => {
      const answer = await probe(api.url, control(self, { host: 'rebinding.invalid' }));
      // In front of a gate a proxy may refuse the name first.
      const refused = isLoopback(new URL(api.url).hostname) ? answer.status === 421 : answer.status >= 400;
      if (!refused) throw new Error(`a foreign Host was answered ${answer.status} instead of 421`);
      return `${answer.status}`;
    },
  },
  {
    name: 'foreign Origin',
    check: async (subject) => {
      const headers = { ...bearer(ownOf(subject).bare), origin: 'https://elsewhere.invalid' };
      const answer = await probe(subject.api.url, control(self, headers));
      expectStatus('a foreign Origin', answer, 403);
      if (answer.headers['access-control-allow-origin'] !== undefined) throw new Error('CORS lets it read');
      return '403, and no CORS header';
    },
  },
  {
    name: 'oversize body',
    check: async (subject) => {
      const { caller, bare } = ownOf(subject);
      const call = modelCall(subject.model, caller);
      const headers = { ...call.headers, 'content-length': String(modelBodyBytesMax + 1) };
      expectStatus('a model call past the limit', await probe(subject.api.url, { ...call, headers }), 413);
      const large = `{"x":"${'x'.repeat(controlRequestBytesMax)}"}`;
      const refused = await probe(subject.api.url, control(self, bearer(bare), large));
      expectStatus('a control call past the limit', refused, 413, 429);
      if (refused.status === 429 && codeOf(refused) !== 'resource_exhausted') throw new Error('not resource_exhausted');
      return `models 413, control ${refused.status}`;
    },
  },
  {
    name: 'unknown path',
    check: async ({ api }) => {
      const answer = await probe(api.url, { path: `/doctor-${randomBytes(6).toString('hex')}` });
      expectStatus('an unknown path', answer, 404);
      return '404';
    },
  },
];

function codeOf({ text }: ProbeAnswer): unknown {
  const body: unknown = JSON.parse(text);
  return typeof body === 'object' && body !== null && 'code' in body ? body.code : undefined;
}
