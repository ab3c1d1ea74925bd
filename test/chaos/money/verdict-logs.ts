import type { Evidence } from './evidence.ts';
import type { Finding } from './finding.ts';

/** What PostgreSQL may never have to say: locks in another order, an amount below zero, a row that is there twice. */
const databaseFaults = /deadlock detected|violates|could not serialize|PANIC/;
/** And the gateways: a fault of their own, and money that the database would not take. */
const gateFaults = /internal error|was refused by the database|deadlock|violates|did not stop cleanly/;

const shownCharsMax = 400;

/** 5: no deadlock, and no fault inside; lost increments and double counts are what the sums (4) show. */
export function judgeLogs({ stage }: Evidence): Finding {
  const databaseLines = stage.database.log.split('\n');
  const gateLines = stage.replicas.flatMap(({ gate }) => gate.log.split('\n'));
  for (const replica of stage.replicas) replica.look();
  const violations = [
    ...stage.replicas.flatMap(({ deaths }) => deaths).map((words) => `a gateway ended by itself: ${words}`),
    ...databaseLines.filter((line) => databaseFaults.test(line)).map((line) => `PostgreSQL: ${line}`),
    ...gateLines.filter((line) => gateFaults.test(line)).map((line) => `a gateway: ${line.slice(0, shownCharsMax)}`),
  ];
  return {
    invariant: '5. no deadlock, no fault inside (lost increments and double counts would break the sums)',
    counts: `${databaseLines.length} lines of PostgreSQL, ${gateLines.length} of the gateways`,
    violations,
  };
}
