import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { MeasureSchema } from '../../gen/portcullis/v1/leaderboard_pb.ts';
import { percentCell } from './cells.ts';

it.each([
  [0, '0 %'],
  [0.004, '1 %'],
  [0.5, '50 %'],
  [0.996, '99 %'],
  [1, '100 %'],
])('a share of %d is %s: 0 and 100 are said of none and all alone', (value, text) => {
  expect(percentCell(create(MeasureSchema, { value }))).toBe(text);
});
