import type { MessageInitShape } from '@bufbuild/protobuf';
import { driftsToldMax } from '../../base/limits.ts';
import {
  type BilledFigure as BilledFigureMessage,
  type BillImportSchema,
  BillSourceSchema,
  MatchStateSchema,
  type MatchSummarySchema,
  type ProjectDaySchema,
  type ReconciledDaySchema,
  type Tolerance as ToleranceMessage,
} from '../../gen/portcullis/v1/reconciliation_pb.ts';
import type { Matched } from '../../reconciliation/matching.ts';
import type { BilledFigure, BillImport, MatchState, ReconciledDay, Tolerance } from '../../reconciliation/model.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

/** A figure as it was sent; it is not checked yet. */
export function figureOf(figure: BilledFigureMessage): BilledFigure {
  const { provider, day, model, costNanousd, inputTokens, outputTokens } = figure;
  return {
    provider,
    day,
    model,
    costUsd: costNanousd ?? null,
    tokensInput: inputTokens ?? null,
    tokensOutput: outputTokens ?? null,
  };
}

export function toleranceOf(asked: ToleranceMessage | undefined): Partial<Tolerance> {
  return {
    ...(asked?.basisPoints !== undefined && { basisPoints: asked.basisPoints }),
    ...(asked?.nanousd !== undefined && { nanoUsd: asked.nanousd }),
  };
}

export function importMessage(made: BillImport): MessageInitShape<typeof BillImportSchema> {
  return {
    id: made.id,
    source: toEnum(BillSourceSchema, made.source),
    sha256: made.digest.toString('hex'),
    projectId: made.projectId ?? undefined,
    providers: [...made.providers],
    firstDay: made.firstDay,
    lastDay: made.lastDay,
    figures: made.figures,
    changed: made.changed,
    importedBy: made.importedBy,
    importTime: toTimestamp(made.importedAt),
  };
}

export function reconciledDayMessage(row: ReconciledDay): MessageInitShape<typeof ReconciledDaySchema> {
  return {
    provider: row.provider,
    day: row.day,
    model: row.model,
    billedModels: [...row.billedModels],
    bookedModels: [...row.bookedModels],
    state: toEnum(MatchStateSchema, row.state),
    billedNanousd: row.billedUsd ?? undefined,
    bookedNanousd: row.bookedUsd,
    estimatedNanousd: row.estimatedUsd,
    driftNanousd: row.billedUsd === null ? undefined : row.billedUsd - row.bookedUsd,
    unexplainedNanousd: row.unexplainedUsd,
    billedTokens: row.billedTokens ?? undefined,
    bookedTokens: row.bookedTokens,
    projectId: row.projectId,
  };
}

/** What of a row a project may know: another project's share is none of its business. */
export function projectDayMessage(row: ReconciledDay, projectId: string): MessageInitShape<typeof ProjectDaySchema> {
  return {
    provider: row.provider,
    day: row.day,
    model: row.model,
    bookedModels: [...(row.bookedBy[projectId] ?? [])],
    reconciled: row.state === 'reconciled',
    unexplainedNanousd: row.projectId === projectId ? row.unexplainedUsd : 0n,
  };
}

export function summaryMessage({ days, droppedDays, rows }: Matched): MessageInitShape<typeof MatchSummarySchema> {
  const count = (state: MatchState) => rows.filter((row) => row.state === state).length;
  const withBill = rows.filter(({ billedUsd }) => billedUsd !== null);
  const size = ({ billedUsd, bookedUsd }: ReconciledDay) => {
    const drift = (billedUsd ?? 0n) - bookedUsd;
    return drift < 0n ? -drift : drift;
  };
  const drifts = rows.filter(({ state }) => state === 'drifted').toSorted((a, b) => (size(a) > size(b) ? -1 : 1));
  return {
    days,
    droppedDays,
    reconciled: count('reconciled'),
    drifted: count('drifted'),
    tokensAgree: count('tokens_agree'),
    billedNanousd: sum(withBill.map(({ billedUsd }) => billedUsd ?? 0n)),
    bookedNanousd: sum(withBill.map(({ bookedUsd }) => bookedUsd)),
    unexplainedNanousd: sum(rows.map(({ unexplainedUsd }) => unexplainedUsd)),
    drifts: drifts.slice(0, driftsToldMax).map(reconciledDayMessage),
  };
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
