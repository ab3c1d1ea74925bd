-- Reads that must not grow with what else is stored (docs/hardening.md, P1-05).

-- Pages of lists, also of a small project beside a large one.
CREATE INDEX agents_list ON agents (project_id, id DESC);
CREATE INDEX people_list ON people (project_id, id DESC);
CREATE INDEX teams_list ON teams (project_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX lease_postings_of_budget ON lease_postings (budget_id, id DESC);
CREATE INDEX reconciled_days_list ON reconciled_days (day, provider, model);

-- Which days of a span are reconciled: totals of a run ask for its own.
CREATE INDEX reconciled_days_agreed ON reconciled_days (day, provider) WHERE state = 'reconciled';

-- Who lives, among all processes that ever did.
CREATE INDEX instances_alive ON instances (seen_at) WHERE stopped_at IS NULL;
