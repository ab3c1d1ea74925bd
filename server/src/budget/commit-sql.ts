import { columnList, columnsOf, trueAmount } from './ledger-sql.ts';

// What ends: `freed` is what that changes on each counter.
const endingParts = `
  ended AS (
    DELETE FROM holds h USING unnest({ended}::text[], {usd}::bigint[], {tokens}::bigint[], {requests}::bigint[])
      AS i (hold_id, usd, tokens, requests)
    WHERE h.id = i.hold_id AND h.state = 'held'
    RETURNING h.id, h.budget_ids, h.window_keys, h.amounts, i.usd, i.tokens, i.requests
  ), freed AS MATERIALIZED (
    SELECT a.budget_id, a.window_key, sum(a.amount)::bigint AS held, sum(${trueAmount})::bigint AS posted
    FROM ended e
    CROSS JOIN LATERAL unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    JOIN budgets b ON b.id = a.budget_id
    GROUP BY 1, 2
  ), recorded AS (
    INSERT INTO attempts (${columnList})
    SELECT ${columnsOf()}
    FROM json_populate_recordset(NULL::attempts, {rows}::json) r
    WHERE r.id IN (SELECT id FROM ended) OR r.id = ANY ({holdless}::text[])
    ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING
  ), `;

const askedPart = `
  asked AS MATERIALIZED (
    SELECT * FROM unnest({askedBudgets}::text[], {askedWindows}::text[], {askedAmounts}::bigint[])
      AS a (budget_id, window_key, amount)
  ), `;

const changesOf = {
  both: `SELECT budget_id, window_key, coalesce(f.held, 0) AS freed, coalesce(f.posted, 0) AS posted, a.amount
    FROM freed f FULL JOIN asked a USING (budget_id, window_key)`,
  endings: `SELECT budget_id, window_key, held AS freed, posted, NULL::bigint AS amount FROM freed`,
  holds: `SELECT budget_id, window_key, 0::bigint AS freed, 0::bigint AS posted, amount FROM asked`,
};

// Filters, not conditions: a condition on deleted_at would invite the planner to read an index of all live budgets.
const admittedPart = `
    SELECT {decided}::boolean OR (
      cardinality({askedBudgets}::text[]) = (
        SELECT count(*) FILTER (WHERE b.deleted_at IS NULL
          AND (b.limit_amount IS NULL OR (b.limit_amount > 0 AND l.total <= b.limit_amount)))
        FROM locked l JOIN budgets b ON b.id = l.budget_id
        WHERE l.amount IS NOT NULL)
      AND cardinality({aloneBudgets}::text[]) = (
        SELECT count(*) FILTER (WHERE b.deleted_at IS NULL
          AND (b.limit_amount IS NULL OR (b.limit_amount > 0 AND a.amount <= b.limit_amount)))
        FROM unnest({aloneBudgets}::text[], {aloneAmounts}::bigint[]) AS a (budget_id, amount)
        JOIN budgets b ON b.id = a.budget_id)) AS yes`;

const heldPart = `, held AS (
    INSERT INTO holds (id, instance_id, budget_ids, window_keys, amounts, crash_row, deadline_at)
    SELECT i.id, {instance}, i.budget_ids::text[], i.window_keys::text[], i.amounts::bigint[], i.crash_row,
           now() + i.deadline_ms * interval '1 millisecond'
    FROM admitted, unnest({ids}::text[], {budgets}::text[], {windows}::text[], {amounts}::text[], {crashRows}::json[], {deadlines}::float8[])
      AS i (id, budget_ids, window_keys, amounts, crash_row, deadline_ms)
    WHERE admitted.yes
  )`;

/** A statement of its own for each kind of batch: starting one costs by its size, and a lone call's batch has one kind. */
function commitSql(kind: keyof typeof changesOf): string {
  return `
  WITH ${kind === 'holds' ? '' : endingParts}${kind === 'endings' ? '' : askedPart}changes AS MATERIALIZED (
    ${changesOf[kind]}
  ), locked AS MATERIALIZED (
    SELECT c.budget_id, c.window_key, d.freed, d.posted, d.amount, c.posted + c.held - d.freed + d.posted + d.amount AS total
    FROM changes d JOIN budget_counters c USING (budget_id, window_key)
    ORDER BY c.budget_id, c.window_key
    FOR UPDATE OF c
  ), admitted AS MATERIALIZED (
    ${kind === 'endings' ? 'SELECT true AS yes' : admittedPart}
  ), counted AS (
    UPDATE budget_counters c
    SET held = c.held - l.freed + CASE WHEN admitted.yes THEN coalesce(l.amount, 0) ELSE 0 END, posted = c.posted + l.posted
    FROM locked l, admitted
    WHERE c.budget_id = l.budget_id AND c.window_key = l.window_key
  )${kind === 'endings' ? '' : heldPart}
  SELECT yes AS held, ${kind === 'holds' ? `'{}'::text[]` : 'ARRAY(SELECT id FROM ended)'} AS ended FROM admitted`;
}

/** The statements, prepared under their names; `parameters` says what each place of their values is. */
export const commits = {
  both: statement('commit batch', commitSql('both')),
  endings: statement('commit batch of endings', commitSql('endings')),
  holds: statement('commit batch of holds', commitSql('holds')),
};

/** Numbers the parameters that a text names as {this}. */
function statement(name: string, text: string): { name: string; text: string; parameters: readonly string[] } {
  const parameters = [...new Set(text.match(/(?<=\{)[a-zA-Z]+(?=\})/g))];
  return {
    name,
    text: text.replace(/\{([a-zA-Z]+)\}/g, (_, named: string) => `$${parameters.indexOf(named) + 1}`),
    parameters,
  };
}
