/** Why what LiteLLM's file says has no counterpart in the configuration file here, by section and name. */
const reasons: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  litellm_params: {
    api_version: 'Azure is called by its API v1, which has no versions',
    max_retries: 'retries are of a route: attempts_max',
    rpm: 'calls are limited by key here, for all models: RATE_LIMIT_MODELS_PER_MINUTE',
    tpm: 'tokens are limited by budgets: portcullis budgets create NAME --unit tokens --window hour',
    stream_timeout: 'a target has first_byte_ms, idle_ms and total_ms, for streams too',
    order: 'targets are tried by weight, then in the order of the file',
    max_budget: 'budgets select by model, provider or agent: portcullis budgets create NAME --model MODEL',
    budget_duration: 'budgets select by model, provider or agent: portcullis budgets create NAME --model MODEL',
    tags: 'routing by tags is not done',
  },
  model_info: {
    base_model: 'a price is found by the name that the provider has for the model, or declared',
    supports_prompt_caching: 'it shows in the usage that the provider reports',
  },
  litellm_settings: {
    cache: 'answers are cached by route: cache_ttl_s',
    cache_params: 'answers are cached by route: cache_ttl_s',
    callbacks: 'calls are in the ledger, the access log and /metrics',
    success_callback: 'calls are in the ledger, the access log and /metrics',
    failure_callback: 'calls are in the ledger, the access log and /metrics',
    service_callback: 'calls are in the ledger, the access log and /metrics',
    context_window_fallbacks: 'a context that is too long is told to the caller',
    content_policy_fallbacks: "a provider's refusal is told to the caller",
    set_verbose: 'see LOG_LEVEL',
    json_logs: 'logs are JSON',
  },
  router_settings: {
    routing_strategy: 'targets are chosen by weight, and passed over while they fail',
    cooldown_time: 'a breaker for each provider and model decides by itself',
    allowed_fails: 'a breaker for each provider and model decides by itself',
    retry_after: 'what the provider says (Retry-After) is waited for',
    redis_host: 'replicas share PostgreSQL: DATABASE_URL',
    redis_port: 'replicas share PostgreSQL: DATABASE_URL',
    redis_password: 'replicas share PostgreSQL: DATABASE_URL',
    redis_url: 'replicas share PostgreSQL: DATABASE_URL',
    context_window_fallbacks: 'a context that is too long is told to the caller',
    content_policy_fallbacks: "a provider's refusal is told to the caller",
  },
  general_settings: {
    master_key: 'the first start makes an admin key; see also ADMIN_API_KEY',
    database_url: 'see DATABASE_URL',
    alerting: 'alert on /metrics',
    store_model_in_db: 'models are in portcullis.yaml',
  },
};

const ofSections: Readonly<Record<string, string>> = {
  environment_variables: 'set them in the environment of the gate, or in .env where it runs',
  credential_list: 'each provider names its own key',
  guardrails: 'this version has none',
  mcp_servers: 'the tools door is not in this version',
  vector_store_registry: 'this version has no vector stores',
};

const bySection = new Map(
  Object.entries(reasons).map(([section, members]) => [section, new Map(Object.entries(members))]),
);
const wholes = new Map(Object.entries(ofSections));

/** Why a member of a section was left; without a member, why the whole section was. */
export function reasonOf(section: string, member?: string): string {
  const known = member === undefined ? wholes.get(section) : bySection.get(section)?.get(member);
  return known ?? 'has no counterpart here';
}
