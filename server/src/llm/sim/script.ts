import { PortcullisError } from '../../base/errors.ts';

/**
 * How a simulated model behaves. Its name says it:
 *
 *     name   = "sim" *( "-" option )
 *     option = "slow"             a second before the first token, then 20 tokens a second
 *            / "latency-" MS      milliseconds before the first byte (0 to 600000)
 *            / "tokens-" N        a text of exactly N tokens, unless max_tokens is less (4 to 100000)
 *            / "rate-" N          tokens a second in a stream (1 to 10000; without it as fast as it is read)
 *            / "error-" STATUS    an error instead of an answer (400 to 599)
 *            / "error-after-" N   an error event after the first N events of a stream (0 to 100000)
 *            / "cut-after-" N     the stream ends after its first N events (0 to 100000)
 *
 * Options combine, as in `sim-latency-200-rate-50-cut-after-3`; of two that say the same, the later one counts.
 */
export interface Script {
  readonly latencyMs: number;
  readonly tokens: number | null;
  readonly tokensPerS: number | null;
  readonly errorStatus: number | null;
  readonly errorAfterEvents: number | null;
  readonly cutAfterEvents: number | null;
}

type Option = readonly [name: string, field: keyof Script, min: number, max: number];

const options: readonly Option[] = [
  ['latency', 'latencyMs', 0, 600_000],
  ['tokens', 'tokens', 4, 100_000],
  ['rate', 'tokensPerS', 1, 10_000],
  ['error', 'errorStatus', 400, 599],
  ['error-after', 'errorAfterEvents', 0, 100_000],
  ['cut-after', 'cutAfterEvents', 0, 100_000],
];

const plain: Script = {
  latencyMs: 0,
  tokens: null,
  tokensPerS: null,
  errorStatus: null,
  errorAfterEvents: null,
  cutAfterEvents: null,
};

/** Reads the script in a model's name. @throws PortcullisError not_found, listing the options. */
export function parseScript(model: string): Script {
  if (model !== 'sim' && !model.startsWith('sim-')) throw unknownModel(model);
  let script = plain;
  let rest = model.slice('sim'.length);
  while (rest !== '') {
    if (/^-slow(?=-|$)/.test(rest)) {
      script = { ...script, latencyMs: 1000, tokensPerS: 20 };
      rest = rest.slice('-slow'.length);
      continue;
    }
    const read = readOption(rest);
    if (read === null) throw unknownModel(model);
    script = { ...script, [read.field]: read.value };
    rest = read.rest;
  }
  return script;
}

function readOption(text: string): { field: keyof Script; value: number; rest: string } | null {
  for (const [name, field, min, max] of options) {
    const match = new RegExp(`^-${name}-(\\d{1,6})(?=-|$)`).exec(text);
    const value = Number(match?.[1]);
    if (match && value >= min && value <= max) return { field, value, rest: text.slice(match[0].length) };
  }
  return null;
}

function unknownModel(model: string): PortcullisError {
  const list = options.map(([name, , min, max]) => `-${name}-N (${min} to ${max})`).join(', ');
  return new PortcullisError(
    'not_found',
    `There is no simulated model "${model.slice(0, 100)}": its name is "sim" and any of the options -slow, ${list}.`,
    { param: 'model' },
  );
}
