import type { Target } from './target.ts';

/** Nothing in between: the floor of every figure, and what the load generator and the mock provider can do
 * at most. Its CPU time is the mock provider's. */
export const direct: Target = {
  name: 'direct',
  start: ({ mockUrl, mockPid }) =>
    Promise.resolve({
      url: mockUrl,
      pid: mockPid,
      databasePid: null,
      headers: { anthropic: {}, chat: {} },
      alive: () => {},
      stop: () => Promise.resolve(),
    }),
};
