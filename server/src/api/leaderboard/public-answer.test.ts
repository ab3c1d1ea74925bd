import { toBinary, toJsonString } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import {
  publicEntriesMax,
  publicEntriesTogetherMax,
  publicTogetherMax,
  publicWorkflowsMax,
} from '../../base/telemetry-limits.ts';
import { GetPublicLeaderboardResponseSchema } from '../../gen/portcullis/v1/leaderboard_pb.ts';
import { type PublicBoard, PublicBoards } from '../../telemetry/leaderboard/public-board.ts';
import { PublicAnswers } from './public-answer.ts';

// The longest there can be, of characters of three bytes, and each figure there is.
const name = (at: number) => `${at} `.padEnd(100, '\u6F22');

const full: PublicBoard = {
  madeAt: Date.UTC(2026, 10, 23),
  workflows: Array.from({ length: publicWorkflowsMax }, (_, at) => ({
    title: name(at),
    windowDays: 30,
    entries: Array.from({ length: publicEntriesMax }, (_unused, rank) => ({
      rank: rank + 1,
      label: name(rank),
      score: 0.81,
      runs: Number.MAX_SAFE_INTEGER,
      cancelled: Number.MAX_SAFE_INTEGER,
      success: { rate: 0.57, low: 0.45, high: 0.69 },
      costPerSuccessNanousd: 9_000_000_000_000_000_000n,
      durationP50Ms: 123_456.789_012_345_6,
      durationP95Ms: 123_456.789_012_345_6,
      rating: 4.4,
      evaluation: 0.86,
    })),
  })),
};

const boards = new PublicBoards();
boards.show(full);
const answers = new PublicAnswers(boards);
const answer = (title: string | null) => answers.of(title);

it('names every workflow of a full board, with ten versions of each as long as there is room, in a small answer', () => {
  const all = answer(null);
  expect(all.workflows.map(({ title }) => title)).toEqual(full.workflows.map(({ title }) => title));
  const counts = all.workflows.map(({ entries }) => entries.length);
  expect(Math.max(...counts)).toBe(publicEntriesTogetherMax);
  expect(counts.reduce((sum, count) => sum + count)).toBe(publicTogetherMax);
  expect(all.workflows.every(({ truncated }) => truncated)).toBe(true);
  expect(toBinary(GetPublicLeaderboardResponseSchema, all).length).toBeLessThan(150_000);
  expect(Buffer.byteLength(toJsonString(GetPublicLeaderboardResponseSchema, all))).toBeLessThan(250_000);
});

it('has all versions of the one workflow that is asked for by its title', () => {
  const one = answer(name(99));
  expect(one.workflows).toHaveLength(1);
  expect(one.workflows[0]).toMatchObject({ title: name(99), truncated: false });
  expect(one.workflows[0]?.entries).toHaveLength(publicEntriesMax);
  expect(() => answer('gone')).toThrow('No workflow of this title is published here.');
});

it('is made once for all who ask, and anew with the board', () => {
  const [all, one] = [answer(null), answer(name(3))];
  expect([answer(null) === all, answer(name(3)) === one]).toEqual([true, true]);
  boards.show({ ...full, workflows: full.workflows.slice(1) });
  expect(answer(null).workflows).toHaveLength(publicWorkflowsMax - 1);
  expect(() => answer(name(0))).toThrow('No workflow of this title');
});
