import type { MessageInitShape } from '@bufbuild/protobuf';
import { exportKinds, type ExportPlace } from '../../export/model.ts';
import { ExportKindSchema, type ExportSummarySchema } from '../../gen/portcullis/v1/export_pb.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

/** @param nowMs epoch milliseconds */
export function exportSummaryMessage(
  { kinds, counts, begunAt }: ExportPlace,
  nowMs: number,
): MessageInitShape<typeof ExportSummarySchema> {
  const told = exportKinds.filter((kind) => kinds.includes(kind));
  return {
    counts: told.map((kind) => ({ kind: toEnum(ExportKindSchema, kind), records: BigInt(counts[kind] ?? 0) })),
    beginTime: toTimestamp(begunAt),
    endTime: toTimestamp(nowMs),
  };
}
