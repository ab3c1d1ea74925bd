import { readFileSync } from 'node:fs';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import { ExportKind, ExportService } from '../server/src/gen/portcullis/v1/export_pb.ts';
import { queryAsOwner } from './support/database.ts';
import { bearer } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

const rows = 1_000_000;
const tenthRows = rows / 10;

/** What the process has in memory, in MiB. */
function residentMb(pid: number): number {
  const [, kb] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}

/** Attempts of today, at once. */
async function writeAttempts({ database }: TestGate, projectId: string): Promise<void> {
  await queryAsOwner(
    database,
    `INSERT INTO attempts (id, request_id, project_id, agent_id, workflow, provider, model_asked, model_served, dialect_in, streamed,
       tokens_input, tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning,
       cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun)
     SELECT ledger_day_start((now() AT TIME ZONE 'UTC')::date) || lpad(n::text, 16, '0'), 'req_' || n, $1::text, 'agt_1', 'flow', 'claude',
       'claude-1', 'claude-1', 'anthropic', false, 10, 10, 0, 0, 0, 0, 1000, 'measured', 'success', now(), 0, 1, false
     FROM generate_series(1, $2::int) AS n`,
    [projectId, rows],
  );
}

test.skipIf(process.platform !== 'linux')(
  'an export of a million rows holds no more in memory in its second half than in its first',
  async () => {
    const gate = await startGate();
    try {
      const { principal } = await gate.api<{ principal: { projectId: string } }>('SystemService/GetSelf');
      await writeAttempts(gate, principal.projectId);
      const transport = createConnectTransport({
        baseUrl: gate.url,
        httpVersion: '1.1',
        useBinaryFormat: true,
        acceptCompression: [],
      });
      const stream = createClient(ExportService, transport).exportState(
        { kinds: [ExportKind.ATTEMPT] },
        { headers: bearer(gate.adminKey), timeoutMs: 0 },
      );
      const peaks: number[] = Array.from({ length: 10 }, () => 0);
      const before = residentMb(gate.pid);
      const begunAt = performance.now();
      let told = 0;
      let largest = 0;
      for await (const { records, summary } of stream) {
        if (summary) break;
        const tenth = Math.min(9, Math.floor(told / tenthRows));
        peaks[tenth] = Math.max(peaks[tenth] ?? 0, residentMb(gate.pid));
        told += records.length;
        largest = Math.max(largest, records.length);
      }
      const seconds = (performance.now() - begunAt) / 1000;
      console.log(
        `${told} rows in ${seconds.toFixed(0)} s; MiB before ${before.toFixed(0)}, by tenths ${peaks.map(Math.round).join(' ')}`,
      );
      expect(told).toBe(rows);
      expect(largest).toBeLessThanOrEqual(500);
      // Node's heap grows to what it finds comfortable, once.
      expect(Math.max(...peaks.slice(5))).toBeLessThan(Math.max(...peaks.slice(0, 5)) + 50);
    } finally {
      await gate.stop();
    }
  },
  600_000,
);
