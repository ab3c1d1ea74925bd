import { answerFeatures } from './answer-features.ts';
import type { AnswerFeature } from './answer-matrix.ts';
import { callFeatures } from './call-features.ts';
import { limitFeatures } from './limit-features.ts';
import { promptFeatures } from './prompt-features.ts';
import { formFeatures, reasoningFeatures } from './reasoning-features.ts';
import type { RequestFeature } from './request-matrix.ts';
import { samplingFeatures } from './sampling-features.ts';
import { accountFeatures, stateFeatures } from './state-features.ts';
import { toolFeatures } from './tool-features.ts';

/** The rows of the conformance matrix, under their headings. */
export interface Group<F> {
  readonly title: string;
  readonly features: readonly F[];
}

export const requestGroups: readonly Group<RequestFeature>[] = [
  { title: 'Prompt', features: promptFeatures },
  { title: 'Tools', features: toolFeatures },
  { title: 'Calls and results', features: callFeatures },
  { title: 'Sampling and limits', features: samplingFeatures },
  { title: 'Reasoning', features: reasoningFeatures },
  { title: 'Form of the answer', features: formFeatures },
  { title: 'Account', features: accountFeatures },
  { title: 'Cache, state and the rest', features: stateFeatures },
  { title: 'What the model behind a name cannot do', features: limitFeatures },
];

export const answerGroups: readonly Group<AnswerFeature>[] = [
  { title: 'Content', features: answerFeatures.content },
  { title: 'Ends', features: answerFeatures.endings },
  { title: 'Usage', features: answerFeatures.costs },
  { title: 'Faults', features: answerFeatures.faults },
];
