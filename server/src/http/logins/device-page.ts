import type { WaitingRequest } from '../../identity/logins/device-service.ts';
import type { Scope } from '../../identity/scopes.ts';
import { foreign } from '../pages/foreign.ts';
import { type Html, html } from '../pages/html.ts';
import { alertBox, type Page } from '../pages/layout.ts';
import { devicePath } from './options.ts';

interface View {
  /** Who is signed in. */
  readonly name: string;
  readonly csrf: string;
}

/** Asks for the code that a terminal shows. */
export function codePage({ name, csrf, problem }: View & { readonly problem: string | null }): Page {
  return {
    title: problem === null ? 'Log in a command line' : 'Error: Log in a command line',
    name,
    main: html`<div class="narrow">
      <h1>Log in a command line</h1>
      ${problem === null ? null : alertBox(problem)}
      <form class="card" method="post" action="${devicePath}">
        ${hidden('csrf', csrf)}
        <label for="user_code">Code</label>
        <p class="hint" id="code-hint">The eight letters that your terminal shows, like WDJB-MJHT.</p>
        <input
          id="user_code"
          name="user_code"
          type="text"
          required
          maxlength="40"
          autocomplete="off"
          spellcheck="false"
          autocapitalize="characters"
          aria-describedby="code-hint"
        />
        <button class="wide" type="submit">Continue</button>
      </form>
    </div>`,
  };
}

export interface ConfirmView extends View {
  readonly waiting: WaitingRequest;
  /** What it would get. */
  readonly scopes: readonly Scope[];
  readonly project: string;
  /** From where the person at the browser comes. */
  readonly here: string;
}

/** Shows what asks, and asks whether it is the person's own. */
export function confirmPage({ name, csrf, waiting, scopes, project, here }: ConfirmView): Page {
  const { userCode, clientName, address } = waiting;
  const fields = html`${hidden('csrf', csrf)}${hidden('user_code', userCode)}`;
  return {
    title: 'Confirm a login',
    name,
    main: html`<h1>Is this your terminal?</h1>
      <section class="card" aria-labelledby="code">
        <h2 id="code">${userCode}</h2>
        <p>
          <strong>Continue only if your own terminal shows this very code.</strong> If somebody sent you here, or you
          did not just run <code>portcullis login</code> yourself, deny it: whoever asks would act in your name.
        </p>
        <dl>
          ${row('What asks', clientName)}
          ${row('From', address === here ? `${address}, as you` : `${address}; you come from ${here}`)}
          ${row('As', name)} ${row('Project', project)} ${row('May', scopes.join(', '))}
        </dl>
        <form method="post" action="${devicePath}">
          ${fields}
          <button type="submit" name="decision" value="approve">It is mine: log it in</button>
          <button class="plain" type="submit" name="decision" value="deny">Deny</button>
        </form>
      </section>`,
  };
}

/** What became of it. */
export function decidedPage(name: string, isApproved: boolean, clientName: string): Page {
  return {
    title: isApproved ? 'Logged in' : 'Denied',
    name,
    main: html`<div class="narrow">
      <h1>${isApproved ? 'Logged in' : 'Denied'}</h1>
      <p>
        ${
          isApproved
            ? html`“${foreign(clientName)}” is logged in: go back to your terminal. You can end the login on
                <a href="/account">your account</a>.`
            : html`“${foreign(clientName)}” gets nothing. If you did not expect it, somebody may have tried to act in
              your name: tell an administrator.`
        }
      </p>
    </div>`,
  };
}

function hidden(name: string, value: string): Html {
  return html`<input type="hidden" name="${name}" value="${value}" />`;
}

function row(label: string, value: string): Html {
  return html`<dt>${label}</dt>
    <dd>${value}</dd>`;
}
