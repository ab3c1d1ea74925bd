import { defineConfig } from 'vitest/config';
export default defineConfig({ test: { include: ['zz-review-money-*.test.ts'], globalSetup: ['test/support/postgres.ts'], testTimeout: 240_000, hookTimeout: 120_000, maxWorkers: 1 } });
