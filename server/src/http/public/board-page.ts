import {
  boardRunsMinDefault,
  publicMedianRunsMin,
  publicP95RunsMin,
  publicRunsMin,
  successesMin,
} from '../../base/telemetry-limits.ts';
import {
  glanceAt,
  type PublicBoard,
  type PublicGlance,
  type PublicWorkflow,
} from '../../telemetry/leaderboard/public-board.ts';
import { foreign } from '../pages/foreign.ts';
import { type Html, html } from '../pages/html.ts';
import type { Link, Page } from '../pages/layout.ts';
import { boardTable } from './board-table.ts';

/**
 * The public leaderboard.
 * @param only the one workflow that is asked for; null for all
 */
export function boardPage(board: PublicBoard, only: PublicWorkflow | null, links: readonly Link[]): Page {
  const alone = only ?? (board.workflows.length === 1 ? board.workflows[0] : undefined);
  const shown = alone ? [{ ...alone, all: alone.entries.length }] : glanceAt(board);
  return {
    title: 'Leaderboard',
    wide: true,
    links,
    main: html`<div class="board-head">
        <h1>Leaderboard</h1>
        <p class="lead">
          Which version of a prompt does the work, how surely, and at what cost: of the workflows that are published
          here.
        </p>
        ${board.madeAt !== null && shown.length > 0 && html`<p class="quiet">Made ${time(board.madeAt)}.</p>`}
        ${board.workflows.length > 1 && contents(board.workflows, only)}
      </div>
      ${shown.length === 0 ? nothingPublished : html`${shown.map((one, at) => workflowSection(one, at))}${method}`}`,
  };
}

/** Where a workflow has a page of its own. */
function pathOf({ title }: PublicWorkflow): string {
  return `/leaderboard?workflow=${encodeURIComponent(title.toWellFormed())}`;
}

function contents(workflows: readonly PublicWorkflow[], only: PublicWorkflow | null): Html {
  const item = (href: string, text: Html, isHere: boolean) =>
    html`<li><a href="${href}" ${isHere && here}>${text}</a></li>`;
  return html`<nav aria-label="Workflows">
    <ul class="contents">
      ${item('/leaderboard', html`All`, only === null)}
      ${workflows.map((one) => item(pathOf(one), foreign(one.title), one === only))}
    </ul>
  </nav>`;
}

const here = html`aria-current="page"`;

function workflowSection(workflow: PublicGlance, at: number): Html {
  const { title, windowDays, entries, all } = workflow;
  const id = `workflow-${at + 1}`;
  const days = windowDays === 1 ? 'the last day' : `the last ${windowDays} days`;
  return html`<section class="workflow" aria-labelledby="${id}">
    <h2 id="${id}">${foreign(title)}</h2>
    <p class="quiet">Runs that ended in ${days}, up to yesterday (UTC).</p>
    ${all === 0 && html`<p class="card">Not enough data: no version has enough runs yet.</p>`}
    ${entries.length > 0 && boardTable(id, entries)}
    ${entries.length < all && html`<p class="all"><a href="${pathOf(workflow)}">All ${all} versions</a></p>`}
  </section>`;
}

const nothingPublished = html`<section class="card empty" aria-labelledby="empty">
  <h2 id="empty">Nothing is published yet</h2>
  <p>A workflow appears here when an operator of this gate publishes it. Nothing else of what runs here is public.</p>
</section>`;

const method = html`<section class="method" aria-labelledby="method">
  <h2 id="method">How the score is made</h2>
  <p>
    The score, from 0 to 1, is a weighted mean of what is known of a version: the <strong>lower end</strong> of its
    success rate’s 95 % interval (Wilson), so that few runs weigh less than many; the same times how its cost per
    success, and its median time, compare with the least of the workflow, from ${String(successesMin)} successes on; its
    rating, and its evaluation. Runs that were cancelled tell nothing of success. With fewer than ${boardRunsMinDefault}
    runs that succeeded or failed there is not enough data for a rank; with fewer than ${publicRunsMin} a version is not
    shown, and what is new of one is added when it is that many runs, so that no figure tells of a single one. A median
    time is of ${String(publicMedianRunsMin)} successes at least, a p95 of ${String(publicP95RunsMin)}.
  </p>
  <p>
    Cost and time are measured by the gate: the cost of a success counts runs that failed, too, and times are those of
    runs that succeeded. <strong>Whether a run succeeded is told by the agent that ran it.</strong> Ratings and
    evaluations come from others than that agent and whoever answers for it.
  </p>
</section>`;

function time(ms: number): Html {
  const iso = new Date(ms).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`;
}
