const sentences = [
  'Reading the file that the plan names.',
  'The tests pass but for two; looking at the first of them.',
  'Asked the model for a patch, and applied it to the working copy.',
  'Nothing changed since the last look: waiting for the build.',
];

/** A request of RecordRunEvents: events that nobody told before, of the size that agents tell (about 200 bytes of JSON). */
export function batchOf(runId: string, name: string, count: number): object {
  const occurTime = new Date().toISOString();
  const events = Array.from({ length: count }, (_, index) => ({
    type: index % 10 === 0 ? 'tool.called' : 'step.done',
    level: index % 20 === 0 ? 'RUN_EVENT_LEVEL_WARN' : 'RUN_EVENT_LEVEL_INFO',
    message: sentences[index % sentences.length],
    ...(index % 2 === 0 && { data: `{"step":${index},"tool":"search","took_ms":${index * 3}}` }),
    occurTime,
    clientId: `${name}-${index}`,
  }));
  return { runId, events };
}
