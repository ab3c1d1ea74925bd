import { canonicalJson, type JsonValue } from '../audit/canonical-json.ts';
import { approvalDepthMax, approvalWhatBytesMax } from '../base/approval-limits.ts';
import { invalid } from '../identity/input.ts';

/**
 * Arguments as JSON text, where nothing is lost by reading it: what people see must be what runs.
 * @param param the field that has it, for who is refused
 * @throws PortcullisError invalid_argument
 */
export function parseArguments(param: string, text: string): JsonValue {
  if (Buffer.byteLength(text) > approvalWhatBytesMax) throw tooLarge(param);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    throw invalid(param, `${param} must be JSON.`);
  }
  return checkArguments(param, value);
}

/** @throws PortcullisError invalid_argument */
export function checkArguments(param: string, value: JsonValue): JsonValue {
  checkNode(param, value, 0);
  let text: string;
  try {
    text = canonicalJson(value);
  } catch {
    throw invalid(param, `${param} has text that is not Unicode.`);
  }
  if (Buffer.byteLength(text) > approvalWhatBytesMax) throw tooLarge(param);
  return value;
}

function checkNode(param: string, value: JsonValue, depth: number): void {
  if (depth > approvalDepthMax) throw invalid(param, `${param} is nested deeper than ${approvalDepthMax}.`);
  // Two numbers that JavaScript cannot tell apart would have one digest.
  if (typeof value === 'number' && (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER))
    throw invalid(param, `${param} has a number beyond 2^53: write it as text, since it would be rounded.`);
  if (value === null || typeof value !== 'object') return;
  for (const inner of Object.values(value)) checkNode(param, inner, depth + 1);
}

function tooLarge(param: string) {
  return invalid(param, `${param} must be at most ${approvalWhatBytesMax} bytes.`);
}
