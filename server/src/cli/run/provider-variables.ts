import { type OptionName, optionAliases, options } from '../../config/options.ts';

/** Credentials and switches by which a command would reach a provider of models without the gate. */
const providerVariables: readonly string[] = [
  // Anthropic, and Claude Code's other ways to it
  'ANTHROPIC_API_KEY',
  'ANTHROPIC_AUTH_TOKEN',
  'ANTHROPIC_CUSTOM_HEADERS',
  'ANTHROPIC_UNIX_SOCKET',
  'ANTHROPIC_AWS_API_KEY',
  'ANTHROPIC_FOUNDRY_API_KEY',
  'ANTHROPIC_FOUNDRY_AUTH_TOKEN',
  'AWS_BEARER_TOKEN_BEDROCK',
  'CLAUDE_CODE_OAUTH_TOKEN',
  'CLAUDE_CODE_USE_ANTHROPIC_AWS',
  'CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD',
  'CLAUDE_CODE_USE_BEDROCK',
  'CLAUDE_CODE_USE_FOUNDRY',
  'CLAUDE_CODE_USE_GATEWAY',
  'CLAUDE_CODE_USE_MANTLE',
  'CLAUDE_CODE_USE_VERTEX',
  // OpenAI
  'OPENAI_ADMIN_KEY',
  'OPENAI_API_KEY',
  'OPENAI_ORGANIZATION',
  'OPENAI_ORG_ID',
  'OPENAI_PROJECT',
  'OPENAI_PROJECT_ID',
  'AZURE_API_KEY',
  'AZURE_OPENAI_API_KEY',
  'CODEX_API_KEY',
  // Others
  'AI_GATEWAY_API_KEY',
  'CEREBRAS_API_KEY',
  'COHERE_API_KEY',
  'DEEPSEEK_API_KEY',
  'FIREWORKS_API_KEY',
  'GEMINI_API_KEY',
  'GOOGLE_API_KEY',
  'GOOGLE_GENERATIVE_AI_API_KEY',
  'GROQ_API_KEY',
  'HF_TOKEN',
  'HUGGING_FACE_HUB_TOKEN',
  'MISTRAL_API_KEY',
  'MOONSHOT_API_KEY',
  'OPENROUTER_API_KEY',
  'PERPLEXITY_API_KEY',
  'TOGETHER_API_KEY',
  'XAI_API_KEY',
  'ZAI_API_KEY',
];

const isSecret = (name: OptionName) => options[name].secret;

/** What opens the gate itself: its secrets by all their names, and the key that this command line came with. */
export const gateVariables: readonly string[] = [
  ...(Object.keys(options) as OptionName[]).filter(isSecret),
  ...Object.entries(optionAliases).flatMap(([alias, { name }]) => (isSecret(name) ? [alias] : [])),
  'PORTCULLIS_KEY',
].flatMap((name) => [name, `${name}_FILE`]);

/** Variables that no command of a run inherits. */
export const withheldVariables: ReadonlySet<string> = new Set([...providerVariables, ...gateVariables]);
