import { type Html, html } from '../pages/html.ts';
import type { Link, Page } from '../pages/layout.ts';
import { passage } from './passage.ts';

const steps: readonly (readonly [done: string, how: string])[] = [
  ['Identified', 'By key, token, certificate or session, before a byte of its body is read.'],
  ['Authorized', 'By scope, model and your rules in CEL, which can run in shadow before they bite.'],
  ['Held', 'The worst case is set aside on every matching budget before the first byte goes out.'],
  ['Stopped', 'By one command, in mid-stream too, on every replica.'],
  ['Recorded', 'What ran, what it cost, which rule refused: in a ledger that is only added to.'],
];

const commands: readonly (readonly [why: string, command: string])[] = [
  ['A gate, its database and a first key', 'npm ci && npm start'],
  ['An agent behind it', 'portcullis run -- claude'],
];

/** What this is, in one screen; it tells nothing of the gate that serves it. */
export function landingPage(links: readonly Link[]): Page {
  return {
    title: 'The control plane for AI agents',
    wide: true,
    links,
    main: html`<section class="hero">
        <div>
          <h1>The control plane for AI agents that you only half trust.</h1>
          <p class="lead">
            One process between your agents and the models they call. What a call may do, what it may cost and whether
            it goes on is decided here, not by the agent.
          </p>
        </div>
        <ol class="card start" aria-label="Two commands to start">
          ${commands.map(startItem)}
        </ol>
      </section>
      <section aria-label="What becomes of a call">
        ${passage()}
        <ol class="steps">
          ${steps.map(stepItem)}
        </ol>
      </section>
      <footer class="closing">
        <p>
          The documents are in <code>docs/</code> of the repository; <code>portcullis --help</code> names every command.
        </p>
      </footer>`,
  };
}

function startItem([why, command]: readonly [string, string]): Html {
  return html`<li>
    <p>${why}</p>
    <code>${command}</code>
  </li>`;
}

function stepItem([done, how]: readonly [string, string]): Html {
  return html`<li>
    <h2>${done}</h2>
    <p>${how}</p>
  </li>`;
}
