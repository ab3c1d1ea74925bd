/** The composition root: it alone knows everything, wires it by hand, and takes it down in the reverse order. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { systemClock } from './base/clock.ts';
import { PortcullisError } from './base/errors.ts';
import { RateLimiter } from './base/gcra.ts';
import { bucketsMax, instanceBeatMs } from './base/limits.ts';
import { createLogger, type Logger } from './base/log.ts';
import { createMetrics } from './base/metrics.ts';
import { BudgetIndex } from './budget/budget-index.ts';
import { Instance, sweepHolds } from './budget/instances.ts';
import { Ledger } from './budget/ledger.ts';
import { runCli } from './cli/program.ts';
import type { RunningGate } from './cli/context.ts';
import type { Config } from './config/config.ts';
