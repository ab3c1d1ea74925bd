import { Html, html } from '../pages/html.ts';
import { alertBox, type Link, type Page } from '../pages/layout.ts';

/** Where pages lead on which something went wrong. */
export const backToSignIn: Link = { href: '/sign-in', text: 'Back to sign-in' };

export interface SignInView {
  readonly returnTo: string;
  /** What the identity provider is called; null where none is configured. */
  readonly provider: string | null;
  /** Why the last try failed. */
  readonly problem: string | null;
}

/** Signing in: at the identity provider, or with a key. */
export function signInPage({ returnTo, provider, problem }: SignInView): Page {
  const back = html`<input type="hidden" name="return_to" value="${returnTo}" />`;
  return {
    title: problem === null ? 'Sign in' : 'Error: Sign in',
    main: html`<div class="narrow">
      <h1>Sign in</h1>
      ${problem === null ? null : alertBox(problem)} ${provider === null ? null : providerForm(provider, back)}
      <form class="card" method="post" action="/sign-in">
        ${back}
        <label for="key">API key</label>
        <p class="hint" id="key-hint">An operator’s API key, or the admin key of this server.</p>
        <input
          id="key"
          name="key"
          type="password"
          required
          autocomplete="off"
          spellcheck="false"
          autocapitalize="none"
          aria-describedby="key-hint"
          ${problem === null ? null : new Html('aria-invalid="true"')}
        />
        <button class="wide" type="submit">Sign in with key</button>
      </form>
    </div>`,
  };
}

/**
 * The way to the identity provider. A page of its own, since a browser lets a form lead to no other server, and does not
 * say so.
 */
export function leavingPage(url: string): Page {
  return {
    title: 'Sign in',
    head: html`<meta http-equiv="refresh" content="0; url=${url}" />`,
    main: html`<div class="narrow">
      <h1>Sign in</h1>
      <p>You are being taken to your identity provider.</p>
      <p><a class="button" href="${url}">Continue</a></p>
    </div>`,
  };
}

function providerForm(provider: string, back: Html): Html {
  return html`<form class="card" method="post" action="/sign-in/start">
      ${back}
      <button class="wide" type="submit">Sign in with ${provider}</button>
    </form>
    <p class="or">or</p>`;
}
