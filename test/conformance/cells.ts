import { type AnswerFeature, type AnswerResult, expectedAnswer } from './answer-matrix.ts';
import { errorFeatures } from './error-features.ts';
import type { ErrorFeature } from './error-matrix.ts';
import { answerGroups, requestGroups } from './features.ts';
import { type Direction, directions } from './outcome.ts';
import { type RequestFeature, type Result, expectedRequest } from './request-matrix.ts';
import { answerTitle, requestTitle } from './titles.ts';

/** One cell of the matrix, and the title of the test that proves it. Those that nobody can say are left out. */
interface Cell<F, E> {
  readonly title: string;
  readonly feature: F;
  readonly direction: Direction;
  readonly expected: E;
}

export const requestCells: readonly Cell<RequestFeature, Result>[] = requestGroups
  .flatMap(({ features }) => features)
  .flatMap((feature) =>
    directions.flatMap((direction) => {
      const expected = expectedRequest(feature, direction);
      return expected === null ? [] : [{ title: requestTitle(feature, direction), feature, direction, expected }];
    }),
  );

interface AnswerCell extends Cell<AnswerFeature, AnswerResult> {
  readonly streamed: boolean;
}

export const answerCells: readonly AnswerCell[] = answerGroups
  .flatMap(({ features }) => features)
  .flatMap((feature) =>
    directions.flatMap((direction) =>
      [false, true].flatMap((streamed) => {
        const expected = expectedAnswer(feature, direction, streamed);
        const title = answerTitle(feature, direction, streamed);
        return expected === null ? [] : [{ title, feature, direction, streamed, expected }];
      }),
    ),
  );

export const errorCells: readonly Omit<Cell<ErrorFeature, never>, 'expected'>[] = errorFeatures.flatMap((feature) =>
  directions.map((direction) => ({ title: requestTitle(feature, direction), feature, direction })),
);
