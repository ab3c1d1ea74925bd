import { describe, expect, it } from 'vitest';
import { begin, client, decide, poll, postForm, refresh, signIn } from './support/login-client.ts';
import {
  provider,
  gate,
  other,
  account,
  logIn,
  self,
  holds,
  endsEverywhere,
  set,
  audited,
  developerScopes,
  useLoginGates,
} from './support/login-gates.ts';

useLoginGates();

describe('the end of a login', () => {
  it('comes by logging out, whichever of its credentials is shown, and the answer tells nothing', async () => {
    const { tokens } = await logIn();
    const { json: next } = await refresh(gate, tokens.refresh_token);
    for (const token of ['nonsense', tokens.access_token, next.refresh_token, next.refresh_token])
      expect((await postForm(gate, '/oauth/revoke', { ...client, token })).status).toBe(200);
    await endsEverywhere(tokens.access_token, next.access_token);
  });

  it('comes with the person: key, refresh and what was confirmed but not fetched end on every replica', async () => {
    const { tokens, visitor } = await logIn();
    const { personId } = (await self(tokens.access_token, other)).principal;
    const confirmed = await begin(gate);
    await decide(gate, visitor, confirmed.user_code);
    await gate.api('ProjectService/DisablePerson', { personId });
    await endsEverywhere(tokens.access_token);
    expect((await refresh(other, tokens.refresh_token)).json.error).toBe('invalid_grant');
    expect((await poll(other, confirmed.device_code)).json.error).toBe('access_denied');
    // Coming back, the person logs in anew.
    await gate.api('ProjectService/EnablePerson', { personId });
    await endsEverywhere(tokens.access_token);
    expect((await refresh(other, tokens.refresh_token)).json.error).toBe('invalid_grant');
  });

  it('comes with that of the keys that it made, but keys of agents, which the audit log names', async () => {
    const { tokens } = await logIn(account(['admins']));
    const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name: 'of a login' });
    const create = (key: string, more: object) =>
      gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', { name: 'made', ...more }, key);
    const made = await create(tokens.access_token, {
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes: ['keys:write', 'telemetry:read'],
    });
    const again = await create(made.secret, { kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['telemetry:read'] });
    const ofAgent = await create(tokens.access_token, {
      kind: 'PRINCIPAL_KIND_AGENT',
      agentId: agent.id,
      scopes: ['models:invoke'],
    });
    const { json: next } = await refresh(gate, tokens.refresh_token);
    await postForm(gate, '/oauth/revoke', { ...client, token: next.refresh_token });
    await endsEverywhere(tokens.access_token, next.access_token, made.secret, again.secret);
    expect(await holds(ofAgent.secret)).toBe(true);
    expect((await audited('login.ended')).at(-1)?.payload).toMatchObject({ agent_keys: [ofAgent.key.id] });
  });

  it('comes for the oldest with the twenty-first, and is written down', async () => {
    const { tokens } = await logIn();
    const { personId } = (await self(tokens.access_token)).principal;
    const id = `lgn_${tokens.refresh_token.split('_')[1]}`;
    await set(
      `INSERT INTO logins (id, project_id, person_id, scopes, client_name, address, seed, expires_at)
       SELECT 'lgn_z' || n, project_id, person_id, scopes, client_name, address, seed, expires_at
       FROM logins, generate_series(1, 20) AS n WHERE id = $1`,
      [id],
    );
    const visitor = await signIn(gate, provider, account());
    const asked = await begin(gate);
    await decide(gate, visitor, asked.user_code);
    await set('UPDATE device_codes SET person_id = $1 WHERE state = $2', [personId, 'approved']);
    expect((await poll(gate, asked.device_code)).status).toBe(200);
    await endsEverywhere(tokens.access_token);
    const ended = (await audited('login.ended')).find(({ target }) => target === id);
    expect(ended?.payload).toMatchObject({ how: 'too_many', of: personId });
  });

  it('does not come by rotating its key, which is refused', async () => {
    const { tokens } = await logIn();
    const { keyId } = (await self(tokens.access_token)).principal;
    await expect(gate.api('AgentService/RotateKey', { keyId })).rejects.toThrow('of the login');
    expect((await refresh(gate, tokens.refresh_token)).status).toBe(200);
  });

  it('comes when its key was revoked by hand, at the next refresh', async () => {
    const { tokens } = await logIn();
    const { keyId } = (await self(tokens.access_token)).principal;
    await gate.api('AgentService/RevokeKey', { keyId });
    expect((await refresh(gate, tokens.refresh_token)).json.error).toBe('invalid_grant');
    expect((await audited('login.ended')).at(-1)?.payload).toMatchObject({ how: 'key_revoked' });
  });

  it('is for its person, or an admin, to bring about, and nobody else sees it', async () => {
    const [one, two] = [await logIn(), await logIn()];
    interface Listed {
      logins: { id: string; personId: string; clientName: string; scopes: string[] }[];
    }
    const own = await gate.api<Listed>('ProjectService/ListLogins', {}, one.tokens.access_token);
    expect(own.logins).toMatchObject([{ clientName: 'a test', scopes: developerScopes.split(' ') }]);
    const id = own.logins[0]?.id ?? '';
    await expect(gate.api('ProjectService/EndLogin', { loginId: id }, two.tokens.access_token)).rejects.toThrow('404');
    const all = await gate.api<Listed>('ProjectService/ListLogins', { pageSize: 500 });
    expect(all.logins.map((login) => login.id)).toContain(id);
    await gate.api('ProjectService/EndLogin', { loginId: id }, one.tokens.access_token);
    await endsEverywhere(one.tokens.access_token);
    await expect(gate.api('ProjectService/EndLogin', { loginId: id })).rejects.toThrow('404');
  });
});
