import { ConnectError } from '@connectrpc/connect';
import { Command } from 'commander';
import { loadConfig } from '../config/config.ts';
import { findConnection } from './connection.ts';
import { CliError, type CliContext } from './context.ts';
import { callGates } from './doctor/call-gates.ts';
import { credentialGates } from './doctor/credential-gates.ts';
import { Advice, type DeploymentGate, NotTested, type Subject } from './doctor/deployment-gate.ts';
import { signatureGates } from './doctor/signature-gates.ts';
import { surfaceGates } from './doctor/surface-gates.ts';
import { makeThrowaway, type Throwaway } from './doctor/throwaway.ts';
import { exitCodes } from './exit-codes.ts';
import { createGateClient, type GateClient, refusalOf } from './gate-client.ts';
import { printJson, printLine, printTable } from './output.ts';
import { findSigner } from './request-signing.ts';

interface DoctorOptions {
  readonly production?: true;
  readonly url?: string;
  readonly model: string;
  /** False: `--no-config`. */
  readonly config: boolean;
  readonly json?: true;
}

interface Finding {
  readonly gate: string;
  readonly outcome: 'ok' | 'FAIL' | 'advice' | 'not tested';
  readonly why: string;
}

/** `portcullis doctor`: tries a live gate, as deployments are gated on. */
export function doctorCommand(context: CliContext): Command {
  return new Command('doctor')
    .description('try a live gate: exits 0 only when nothing fails; needs a key with the scope admin')
    .option('--production', 'ask for the production rules, too')
    .option('--url <url>', 'the gate to try (default: PORTCULLIS_URL, or the one on this machine)')
    .option('--model <name>', 'the model to call; one that costs nothing', 'sim')
    .option('--no-config', 'leave out the configuration of this environment: the gate runs elsewhere')
    .option('--json', 'print one JSON document')
    .action(async (options: DoctorOptions) => {
      const findings = await examine(context, options);
      report(context, findings, options);
    });
}

async function examine(context: CliContext, options: DoctorOptions): Promise<Finding[]> {
  const { production = false, model } = options;
  const api = createGateClient(findConnection(context, options.url), findSigner(context));
  const own = await throwawayOf(api);
  const subject: Subject = { context, api, production, model, own };
  const gates = [
    ...(options.config ? [configurationGate] : []),
    ...surfaceGates,
    ...credentialGates,
    ...callGates,
    ...(production ? signatureGates : []),
  ];
  const findings: Finding[] = [];
  try {
    for (const gate of gates) findings.push(await tryGate(gate, subject));
  } finally {
    if (!(own instanceof Error)) findings.push(await tryGate(cleanUp(own), subject));
  }
  return findings;
}

/** @throws CliError when nothing answers, or the key may not do what the doctor does */
async function throwawayOf(api: GateClient): Promise<Throwaway | Error> {
  try {
    return await makeThrowaway(api);
  } catch (error) {
    const told = error instanceof ConnectError ? refusalOf(error, api.url) : error;
    const hopeless: readonly number[] = [exitCodes.denied, exitCodes.unreachable];
    if (told instanceof CliError && hopeless.includes(told.exitCode)) throw told;
    return told instanceof Error ? told : new Error(String(told));
  }
}

const configurationGate: DeploymentGate = {
  name: 'configuration',
  check: ({ context, production }) => {
    const environment = { ...context.environment, ...(production ? { NODE_ENV: 'production' } : {}) };
    const { problems } = loadConfig(environment, context.cwd);
    if (problems.length > 0) throw new Error(problems.join(' '));
    return production ? 'valid, and fit for production' : 'valid';
  },
};

function cleanUp(own: Throwaway): DeploymentGate {
  return {
    name: 'clean up',
    check: async () => {
      await own.remove();
      return "the doctor's keys are revoked and its agent is disabled";
    },
  };
}

async function tryGate({ name, check }: DeploymentGate, subject: Subject): Promise<Finding> {
  try {
    return { gate: name, outcome: 'ok', why: await check(subject) };
  } catch (error) {
    const told = error instanceof ConnectError ? refusalOf(error, subject.api.url) : error;
    const why = told instanceof Error ? told.message : String(told);
    return { gate: name, outcome: outcomeOf(error), why };
  }
}

function outcomeOf(error: unknown): Finding['outcome'] {
  if (error instanceof Advice) return 'advice';
  return error instanceof NotTested ? 'not tested' : 'FAIL';
}

function report(context: CliContext, findings: readonly Finding[], options: DoctorOptions): void {
  const failed = findings.filter(({ outcome }) => outcome === 'FAIL').length;
  const untested = findings.filter(({ outcome }) => outcome === 'not tested').length;
  const advised = findings.filter(({ outcome }) => outcome === 'advice').length;
  if (options.json) printJson(context, { passed: failed === 0, gates: findings });
  else {
    const colours: Readonly<Record<string, 'green' | 'red' | 'yellow'>> = { ok: 'green', FAIL: 'red' };
    printTable(
      context,
      [
        { title: 'GATE' },
        { title: 'RESULT', format: (cell) => colours[cell] ?? 'yellow' },
        { title: 'WHY', whole: true },
      ],
      findings.map(({ gate, outcome, why }) => [gate, outcome, why]),
      '',
    );
    const rest = (untested === 0 ? '' : `, ${untested} not tested`) + (advised === 0 ? '' : `, ${advised} to consider`);
    context.stdout.write('\n');
    printLine(context, `${findings.length - failed - untested - advised} passed, ${failed} failed${rest}.`);
  }
  if (failed > 0) throw new CliError(`Deployment blocked: ${failed} of ${findings.length} gates failed.`);
}
