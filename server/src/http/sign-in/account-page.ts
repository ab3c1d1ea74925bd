import type { LoginRecord } from '../../identity/logins/model.ts';
import type { Principal } from '../../identity/model.ts';
import type { PersonRecord, TeamRecord } from '../../identity/records.ts';
import type { SessionRecord } from '../../identity/sessions/model.ts';
import { type Html, html } from '../pages/html.ts';
import type { Page } from '../pages/layout.ts';

export interface AccountView {
  readonly principal: Principal;
  /** Null for a key that is nobody's in particular. */
  readonly person: PersonRecord | null;
  readonly teams: readonly TeamRecord[];
  readonly sessions: readonly SessionRecord[];
  readonly logins: readonly LoginRecord[];
  readonly csrf: string;
}

/** Who you are here, and where you are signed in. */
export function accountPage(view: AccountView): Page {
  const { principal, person, teams, sessions, logins, csrf } = view;
  const token = html`<input type="hidden" name="csrf" value="${csrf}" />`;
  const list = (items: readonly string[]) => (items.length === 0 ? 'none' : items.join(', '));
  return {
    title: 'Your account',
    name: principal.name,
    main: html`<h1>Your account</h1>
      <section class="card" aria-labelledby="you">
        <h2 id="you">${principal.name}</h2>
        <dl>
          ${person === null ? null : row('E-mail', person.email)} ${row('Id', principal.id)}
          ${row('Project', principal.projectId)} ${person?.roles ? row('Roles', list(person.roles)) : null}
          ${row('Teams', list(teams.map(({ name }) => name)))} ${row('May', list([...principal.scopes].toSorted()))}
        </dl>
        <form method="post" action="/sign-out">
          ${token}

          <button type="submit">Sign out</button>
        </form>
      </section>
      <section aria-labelledby="sessions">
        <h2 id="sessions">Where you are signed in</h2>
        <ul class="sessions">
          ${sessions.map((session) => sessionItem(session, session.id === principal.sessionId, token))}
        </ul>
      </section>
      ${logins.length === 0 ? null : loginSection(logins, token)}`,
  };
}

function row(label: string, value: string): Html {
  return html`<dt>${label}</dt>
    <dd>${value}</dd>`;
}

function sessionItem(session: SessionRecord, isThis: boolean, token: Html): Html {
  const { id, address, userAgent, method, createdAt, lastUsedAt } = session;
  return html`<li>
    <div>
      <p>
        ${isThis && html`<strong>This browser.</strong> `}${userAgent === '' ? 'A browser without a name' : userAgent}
      </p>
      <p class="quiet">
        ${address}, by ${method === 'oidc' ? 'identity provider' : 'key'}, since ${time(createdAt)}, last used
        ${time(lastUsedAt)}
      </p>
    </div>
    <form method="post" action="/account/sessions/end">
      ${token}<input type="hidden" name="session_id" value="${id}" />
      <button class="plain" type="submit">End<span class="unseen"> the session since ${time(createdAt)}</span></button>
    </form>
  </li>`;
}

function loginSection(logins: readonly LoginRecord[], token: Html): Html {
  return html`<section aria-labelledby="logins">
    <h2 id="logins">Where you are logged in with portcullis login</h2>
    <ul class="sessions">
      ${logins.map((login) => loginItem(login, token))}
    </ul>
  </section>`;
}

function loginItem({ id, clientName, address, createdAt, lastUsedAt, scopes }: LoginRecord, token: Html): Html {
  return html`<li>
    <div>
      <p>${clientName}</p>
      <p class="quiet">${address}, since ${time(createdAt)}, last used ${time(lastUsedAt)}; may ${scopes.join(', ')}</p>
    </div>
    <form method="post" action="/account/logins/end">
      ${token}<input type="hidden" name="login_id" value="${id}" />
      <button class="plain" type="submit">End<span class="unseen"> the login of ${clientName}</span></button>
    </form>
  </li>`;
}

function time(ms: number): Html {
  const iso = new Date(ms).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`;
}
