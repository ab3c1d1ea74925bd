import type { CliContext } from '../context.ts';
import type { GateClient } from '../gate-client.ts';
import type { Throwaway } from './throwaway.ts';

/** What the gates are tried on. */
export interface Subject {
  readonly context: CliContext;
  readonly api: GateClient;
  readonly production: boolean;
  /** The model to call: one that costs nothing. */
  readonly model: string;
  /** The keys to try it with; or why there are none. */
  readonly own: Throwaway | Error;
}

/** One thing that must hold before people depend on a deployment. It tests behaviour, and searches no words. */
export interface DeploymentGate {
  readonly name: string;
  /** Resolves with one line that says what was seen. @throws NotTested, Advice, or an Error that says what is wrong */
  readonly check: (subject: Subject) => Promise<string> | string;
}

/** The gate does not apply here, and the message says why. */
export class NotTested extends Error {}

/** Nothing is wrong, but something would be better, and the message says what. It blocks no deployment. */
export class Advice extends Error {}

/** The doctor's own keys. @throws Error when they could not be made */
export function ownOf({ own }: Subject): Throwaway {
  if (own instanceof Error) throw new Error(`no keys to try it with: ${own.message}`);
  return own;
}

interface Answered {
  readonly status: number;
  readonly text?: string;
}

/** @throws Error naming what was asked, what came instead, and how that was explained */
export function expectStatus(what: string, { status, text }: Answered, ...wanted: number[]): void {
  if (wanted.includes(status)) return;
  const explained = /"(?:message|detail)"\s*:\s*"([^"]{1,200})/.exec(text ?? '')?.[1];
  const because = explained === undefined ? '' : `: ${explained}`;
  throw new Error(`${what} was answered ${status} instead of ${wanted.join(' or ')}${because}`);
}
