import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApprovalDesk, type Approver, formOf, newHitlSecret, postFromLink } from './support/approvals.ts';
import { startGate } from './support/gate.ts';
import { Visitor } from './support/visitor.ts';

const [first, second, third] = [newHitlSecret(), newHitlSecret(), newHitlSecret()];
let desk: ApprovalDesk;
let ada: Approver;

beforeAll(async () => {
  desk = await ApprovalDesk.open({ HITL_SECRET: first });
  ada = await desk.approver();
}, 120_000);
afterAll(() => desk?.close());

/** Another process on the same database, with other secrets. */
async function withSecrets<T>(env: Record<string, string>, work: (at: typeof desk.gate) => Promise<T>): Promise<T> {
  const at = await startGate({
    yaml: desk.provider.section(),
    env: { TRUSTED_PROXIES: '127.0.0.1', ...env },
    database: desk.gate.database,
  });
  try {
    return await work(at);
  } finally {
    await at.stop();
  }
}

const elsewhere = (url: string, at: { readonly url: string }) => at.url + new URL(url).pathname + new URL(url).search;
const look = (url: string) => new Visitor().once('GET', url, {});

describe('HITL_SECRET', () => {
  it('can be rotated with links outstanding: the newest signs, those before it verify, and what is dropped does not', async () => {
    const before = await desk.linked(ada);
    await withSecrets({ HITL_SECRET: second, HITL_SECRET_PREVIOUS: `${third}, ${first}` }, async (at) => {
      const url = elsewhere(before.link.approvalUrl, at);
      const page = await look(url);
      expect(page.status).toBe(200);
      // The new one signs: those who do not know it yet refuse.
      const { runId } = await desk.askAtGate();
      const made = await desk.mint(ada.key, runId, 'ideate', {}, 'POST', at);
      expect(made.status).toBe(200);
      expect((await look(made.json.approvalUrl)).status).toBe(200);
      expect((await look(elsewhere(made.json.approvalUrl, desk.gate))).status).toBe(403);
      expect((await postFromLink(url, formOf(page, 'approve'))).status).toBe(200);
    });
    expect(await desk.state(before.approval.id)).toMatchObject({ state: 'APPROVAL_STATE_APPROVED' });
    const after = await desk.linked(ada);
    await withSecrets({ HITL_SECRET: second }, async (at) => {
      expect((await look(elsewhere(after.link.approvalUrl, at))).status).toBe(403);
    });
  });

  it('is needed to make links, and those of before are still taken without it', async () => {
    const { link } = await desk.linked(ada);
    const { runId } = await desk.askAtGate();
    await withSecrets({ HITL_SECRET_PREVIOUS: first }, async (at) => {
      const refused = await desk.mint(ada.key, runId, 'ideate', {}, 'POST', at);
      expect([refused.status, refused.json.rule]).toEqual([409, 'approval.link.secret']);
      expect((await look(elsewhere(link.approvalUrl, at))).status).toBe(200);
    });
    await withSecrets({}, async (at) => {
      expect((await desk.mint(ada.key, runId, 'ideate', {}, 'POST', at)).status).toBe(409);
      expect((await look(elsewhere(link.approvalUrl, at))).status).toBe(403);
    });
  });

  it.each([
    ['HITL_SECRET', 'x'.repeat(31)],
    ['HITL_SECRET_PREVIOUS', `${first} tooshort`],
    ['HITL_SECRET_PREVIOUS', Array.from({ length: 8 }, newHitlSecret).join(',')],
  ])('is 32 bytes or more, and those before it are few: else it is told, and none (%s)', async (name, value) => {
    await withSecrets({ [name]: value }, async (at) => {
      expect(at.output).toContain(`problem: ${name}: must be`);
      for (const word of value.split(/[ ,]/)) expect(at.output).not.toContain(word);
      const { runId } = await desk.askAtGate();
      expect((await desk.mint(ada.key, runId, 'ideate', {}, 'POST', at)).status).toBe(409);
    });
  });
});
