import type { JsonValue } from '../../audit/canonical-json.ts';
import { canonicalJson } from '../../audit/canonical-json.ts';
import { jsonDepthMax } from '../../base/limits.ts';
import type { Editor } from '../../approval/outcomes.ts';
import { readWhat } from '../../approval/what.ts';
import { invalid } from '../../identity/input.ts';
import { readFacts as embeddingFacts } from '../../llm/embeddings.ts';
import { scanObject } from '../../llm/json-scan.ts';
import { isJsonObject } from '../../llm/object-reader.ts';
import { endpoints } from './endpoints.ts';
import { wire } from './wire.ts';

/**
 * Takes another body for a model call, and nothing else: what is called, by which path and by which rule it was stopped stay
 * as they were asked, and so does whether the answer is a stream, which its client waits for. Policy, key and budgets judge
 * it when the call goes on.
 * @throws PortcullisError invalid_argument
 */
// oxlint-disable-next-line typescript/require-await -- An editor may look into the database.
export const editCall: Editor = async (_db, approval, edited) => {
  const asked = readWhat(approval.what).arguments;
  if (!isJsonObject(asked) || !isJsonObject(edited))
    throw refused('must be the arguments that were asked for, with another body.');
  const others = (args: Readonly<Record<string, JsonValue>>) => canonicalJson({ ...args, body: null });
  if (others(asked) !== others(edited)) throw refused('may have another body, and nothing else that is new.');
  const path = asked['path'];
  const endpoint = endpoints.find((one) => one.path === path);
  if (endpoint === undefined) throw refused('is of a call that this server does not know.');
  const streams = (body: unknown) => {
    const bytes = Buffer.from(JSON.stringify(body));
    const scanned = scanObject(bytes, { depthMax: jsonDepthMax });
    return (endpoint.operation === 'embed' ? embeddingFacts : wire[endpoint.dialect].readFacts)(bytes, scanned).stream;
  };
  if (streams(edited['body']) !== streams(asked['body']))
    throw refused('may not change whether the answer is a stream: the client waits for what it asked for.');
  return edited;
};

function refused(detail: string) {
  return invalid('edited_arguments', `edited_arguments ${detail}`);
}
