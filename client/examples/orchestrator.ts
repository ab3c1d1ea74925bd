/**
 * A small orchestrator: it sorts messages of customers with two versions of a prompt, each message as a run of its own and a
 * few at a time, has every answer judged, and prints which version is better and what it cost.
 *
 *     PORTCULLIS_URL=http://127.0.0.1:8080 PORTCULLIS_KEY=… PORTCULLIS_JUDGE_KEY=… node orchestrator.ts
 *
 * PORTCULLIS_KEY is an agent's: models:invoke, runs:write, telemetry:write. Nobody judges their own work, and agents judge
 * none: PORTCULLIS_JUDGE_KEY is a service's, with runs:write and telemetry:read.
 */
import { type ActiveRun, createPortcullis, type LeaderboardEntry, PortcullisError, withRun } from '@portcullis/client';

const url = process.env['PORTCULLIS_URL'] ?? 'http://127.0.0.1:8080';
const key = process.env['PORTCULLIS_KEY'] ?? '';
const model = process.env['MODEL'] ?? 'sim';
const workflow = 'sort-messages';
const concurrency = 4;

const portcullis = createPortcullis({ url, key });
const judge = createPortcullis({ url, key: process.env['PORTCULLIS_JUDGE_KEY'] ?? '' });

const prompts = {
  terse: 'What is this message about? Answer with one word.',
  listed: 'What is this message about: billing, fault or question? Answer with one of these words.',
};
const tasks = [
  { id: 'message-1', text: 'I was charged twice in May.', kind: 'billing' },
  { id: 'message-2', text: 'The page stays white since this morning.', kind: 'fault' },
  { id: 'message-3', text: 'Which plan has single sign-on?', kind: 'question' },
  { id: 'message-4', text: 'Please send the invoice to our new address.', kind: 'billing' },
  { id: 'message-5', text: 'Export ends with error 500.', kind: 'fault' },
  { id: 'message-6', text: 'Do you ship to Norway?', kind: 'question' },
] as const;

type Task = (typeof tasks)[number];

/** A model call within a run: what it costs counts for the run. */
async function ask(run: ActiveRun, content: string): Promise<string> {
  const response = await fetch(`${portcullis.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...run.headers, authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content }] }),
    signal: run.signal,
  });
  if (!response.ok) throw new Error(`${model} answered ${response.status}: ${await response.text()}`);
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  return choices[0]?.message.content ?? '';
}

/** Does one task as a run, and has it judged. @returns what it cost in nano-USD */
async function sort(task: Task, version: keyof typeof prompts, signal: AbortSignal): Promise<bigint> {
  const options = { workflow, taskId: task.id, promptVersion: version, signal };
  const {
    value: answer,
    run,
    totals,
  } = await withRun(portcullis, options, async (active) => {
    active.event({ type: 'message.read', data: { characters: task.text.length } });
    const said = await ask(active, `${prompts[version]}\n\n${task.text}`);
    active.event({ type: 'message.sorted', message: said });
    active.summary = said;
    return said;
  });
  await judge.analytics.recordEvaluation({
    runId: run.id,
    evaluator: 'names-the-kind',
    score: answer.toLowerCase().includes(task.kind) ? 1 : 0,
  });
  return totals?.costNanousd ?? 0n;
}

/** Does the work for each item, so many at a time. */
async function eachOf<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** The leaderboard once it knows of all runs: it is a few seconds behind. */
async function leaderboard(runs: number): Promise<LeaderboardEntry[]> {
  for (let tries = 0; ; tries++) {
    const { entries } = await judge.analytics.getLeaderboard({ workflow, minRuns: 3 });
    const counted = entries.reduce((sum, { evaluation }) => sum + Number(evaluation?.n ?? 0), 0);
    if (counted >= runs || tries === 60) return entries;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort(new Error(signal)));

for (const [label, content] of Object.entries(prompts)) {
  await portcullis.analytics.registerPromptVersion({ workflow, label, version: { case: 'content', value: content } });
}

const jobs = tasks.flatMap((task) => [{ task, version: 'terse' } as const, { task, version: 'listed' } as const]);
let nanousd = 0n;
let done = 0;
await eachOf(jobs, concurrency, async ({ task, version }) => {
  try {
    const cost = await sort(task, version, stop.signal);
    nanousd += cost;
    done++;
  } catch (error) {
    // One that fails is no reason to leave the others; once it is stopped, each that is left ends here at once.
    console.error(
      `${task.id} (${version}): ${error instanceof PortcullisError ? `${error.message} (${error.code})` : String(error)}`,
    );
    process.exitCode = 1;
  }
});

for (const { rank, label, score, evaluation, succeeded } of await leaderboard(done)) {
  const points = score === undefined ? 'not enough data' : score.toFixed(3);
  console.log(`${rank ?? '-'}. ${label}: ${points} (${succeeded} runs, evaluated ${evaluation?.value ?? '-'})`);
}
console.log(`${done} of ${jobs.length} runs, ${(Number(nanousd) / 1e9).toFixed(6)} USD`);
