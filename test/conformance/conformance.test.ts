import { expect, test } from 'vitest';
import { foundAnswer } from './answer-matrix.ts';
import { answerCells, errorCells, requestCells } from './cells.ts';
import { expectedError, foundError } from './error-matrix.ts';
import { foundRequest } from './request-matrix.ts';
import { byTitle } from './titles.ts';

/** Every cell of `docs/reference/conformance.md`, which is made from the same data. */

test.each(byTitle(requestCells))('%s', (_, { feature, direction, expected }) => {
  expect(foundRequest(feature, direction)).toEqual(expected);
});

test.each(byTitle(answerCells))('%s', (_, { feature, direction, streamed, expected }) => {
  expect(foundAnswer(feature, direction, streamed)).toEqual(expected);
});

test.each(byTitle(errorCells))('%s', (_, { feature, direction }) => {
  expect(foundError(feature, direction)).toEqual(expectedError(feature, direction));
});

test('each cell has a test of its own name', () => {
  const titles = [...requestCells, ...answerCells, ...errorCells].map(({ title }) => title);
  expect(new Set(titles).size).toBe(titles.length);
});
