import type { Dialect } from '../../server/src/llm/dialect.ts';
import { type Members, adapted, hint, mapped, partly, refused } from './outcome.ts';
import type { RequestFeature } from './request-matrix.ts';

/** Tools: their definitions, and the choice among them. */

const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const optional = { type: 'object', properties: { city: { type: 'string' } } };
const weather = { name: 'weather', description: 'Tells the weather.' };
const chatTool = { type: 'function', function: { ...weather, parameters: schema } };
const item = { type: 'function', ...weather, parameters: schema };

/** A tool, as each dialect defines it; Responses makes a schema strict unless told not to. */
const tools: Readonly<Record<Dialect, Members>> = {
  anthropic: { tools: [{ ...weather, input_schema: schema, strict: false }] },
  chat: { tools: [{ type: 'function', function: { ...chatTool.function, strict: false } }] },
  responses: { tools: [{ ...item, strict: false }] },
};

/** A request with the tool and these members more. */
function withTool(more: Partial<Record<Dialect, Members>>): Partial<Record<Dialect, Members>> {
  const { anthropic, chat, responses } = more;
  return {
    ...(anthropic && { anthropic: { ...tools.anthropic, ...anthropic } }),
    ...(chat && { chat: { ...tools.chat, ...chat } }),
    ...(responses && { responses: { ...tools.responses, ...responses } }),
  };
}

const grammar = 'The input must match this lark grammar:\nstart: "a"';
const freeform = (description: string): Members => ({
  name: 'patch',
  description,
  input_schema: {
    type: 'object',
    properties: { input: { type: 'string' } },
    required: ['input'],
    additionalProperties: false,
  },
});
const freeformFor = (description: string): Readonly<Record<Dialect, Members>> => {
  const { input_schema: parameters, ...named } = freeform(description);
  return {
    anthropic: { tools: [freeform(description)] },
    chat: { tools: [{ type: 'function', function: { ...named, parameters } }] },
    responses: { tools: [{ type: 'custom', name: 'patch', description }] },
  };
};
const asFunction = 'it becomes a tool with one string, and its calls become free text again';
const inWords = 'the grammar is told to the model in words';
const plainPatch = freeformFor('Patches.');
const toldPatch = freeformFor(`Patches.\n\n${grammar}`);

const definitions: readonly RequestFeature[] = [
  { name: 'a tool with a schema', says: tools, expected: mapped, throughGate: true },
  {
    name: 'a tool held strictly to its schema',
    says: {
      anthropic: { tools: [{ ...weather, input_schema: schema, strict: true }] },
      chat: { tools: [{ type: 'function', function: { ...chatTool.function, strict: true } }] },
      responses: { tools: [{ ...item, strict: true }] },
    },
    expected: mapped,
  },
  {
    name: 'a strict tool whose arguments may be left out',
    says: { anthropic: { tools: [{ ...weather, input_schema: optional, strict: true }] } },
    expected: {
      anthropic: {
        chat: partly(['tools.strict'], 'not strict, since there every argument would have to be required', {
          tools: [{ type: 'function', function: { ...weather, parameters: optional, strict: false } }],
        }),
        responses: partly(['tools.strict'], 'not strict, since there every argument would have to be required', {
          tools: [{ type: 'function', ...weather, parameters: optional, strict: false }],
        }),
      },
    },
  },
  {
    name: 'a tool that leaves its strictness open',
    says: {
      anthropic: { tools: [{ ...weather, input_schema: schema }] },
      chat: { tools: [chatTool] },
      responses: { tools: [item] },
    },
    sent: tools,
    expected: {
      anthropic: { chat: leftOpen('chat'), responses: notStrict() },
      chat: { anthropic: leftOpen('anthropic'), responses: notStrict() },
      responses: { anthropic: leftOpen('anthropic'), chat: leftOpen('chat') },
    },
  },
  {
    name: 'a tool without arguments',
    says: {
      anthropic: { tools: [{ name: 'now', input_schema: { type: 'object', properties: {} }, strict: false }] },
      chat: { tools: [{ type: 'function', function: { name: 'now', strict: false } }] },
      responses: { tools: [{ type: 'function', name: 'now', parameters: null, strict: false }] },
    },
    sent: {
      chat: {
        tools: [
          {
            type: 'function',
            function: { name: 'now', parameters: { type: 'object', properties: {} }, strict: false },
          },
        ],
      },
      responses: {
        tools: [{ type: 'function', name: 'now', parameters: { type: 'object', properties: {} }, strict: false }],
      },
    },
    expected: mapped,
  },
  {
    name: 'a tool with free text as its input',
    says: {
      chat: { tools: [{ type: 'custom', custom: { name: 'patch', description: 'Patches.' } }] },
      responses: { tools: [{ type: 'custom', name: 'patch', description: 'Patches.' }] },
    },
    expected: {
      chat: { anthropic: adapted(asFunction, plainPatch.anthropic), responses: mapped },
      responses: {
        anthropic: adapted(asFunction, plainPatch.anthropic),
        chat: adapted(asFunction, plainPatch.chat),
      },
    },
    throughGate: true,
  },
  {
    name: 'a grammar for free text',
    says: {
      chat: {
        tools: [
          {
            type: 'custom',
            custom: {
              name: 'patch',
              description: 'Patches.',
              format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: "a"' } },
            },
          },
        ],
      },
      responses: {
        tools: [
          {
            type: 'custom',
            name: 'patch',
            description: 'Patches.',
            format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' },
          },
        ],
      },
    },
    expected: {
      chat: {
        anthropic: partly(['tools.custom.format'], inWords, toldPatch.anthropic),
        responses: partly(['tools.custom.format'], inWords, toldPatch.responses),
      },
      responses: {
        anthropic: partly(['tools.format'], inWords, toldPatch.anthropic),
        chat: partly(['tools.format'], inWords, toldPatch.chat),
      },
    },
  },
  {
    name: 'tools in a namespace',
    says: {
      responses: { tools: [{ type: 'namespace', name: 'city', description: '', tools: [{ ...item, strict: false }] }] },
    },
    expected: {
      responses: {
        anthropic: adapted('the tool is called by a legal name made of both, and answers by its own', {
          tools: [{ ...weather, name: 'city_weather_7b4d1733aad9', input_schema: schema, strict: false }],
        }),
        chat: adapted('the tool is called by a legal name made of both, and answers by its own', {
          tools: [
            {
              type: 'function',
              function: { ...weather, name: 'city_weather_7b4d1733aad9', parameters: schema, strict: false },
            },
          ],
        }),
      },
    },
  },
  {
    name: 'a tool by a name that not every provider takes',
    says: named('fs.read'),
    expected: {
      anthropic: { chat: renamed('chat'), responses: renamed('responses') },
      chat: { anthropic: renamed('anthropic'), responses: renamed('responses') },
      responses: { anthropic: renamed('anthropic'), chat: renamed('chat') },
    },
  },
  {
    name: 'a tool that is loaded late, and examples of its input',
    says: {
      anthropic: {
        tools: [
          { ...weather, input_schema: schema, strict: false, defer_loading: true, input_examples: [{ city: 'Ulm' }] },
        ],
      },
      responses: { tools: [{ ...item, strict: false, defer_loading: true }] },
    },
    expected: {
      anthropic: {
        chat: partly(['tools.defer_loading', 'tools.input_examples'], 'the tool is there from the start', tools.chat),
        responses: partly(
          ['tools.defer_loading', 'tools.input_examples'],
          'the tool is there from the start',
          tools.responses,
        ),
      },
      responses: {
        anthropic: partly(['tools.defer_loading'], 'the tool is there from the start', tools.anthropic),
        chat: partly(['tools.defer_loading'], 'the tool is there from the start', tools.chat),
      },
    },
  },
  {
    name: 'web search by the vendor',
    says: {
      anthropic: { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
      chat: { web_search_options: { search_context_size: 'low' } },
      responses: { tools: [{ type: 'web_search' }] },
    },
    expected: {
      anthropic: refused(
        'tools[0]',
        `is a tool of type "web_search_20250305", which only this dialect's own vendor runs`,
      ),
      chat: refused('web_search_options'),
      responses: hint('tools.web_search'),
    },
  },
  {
    name: 'web search by the vendor, with its defaults',
    says: { chat: { web_search_options: {} } },
    expected: { chat: refused('web_search_options') },
  },
  {
    name: 'code execution by the vendor',
    says: {
      anthropic: { tools: [{ type: 'code_execution_20250825', name: 'code_execution' }] },
      responses: { tools: [{ type: 'code_interpreter', container: { type: 'auto' } }] },
    },
    expected: {
      anthropic: refused(
        'tools[0]',
        `is a tool of type "code_execution_20250825", which only this dialect's own vendor runs`,
      ),
      responses: refused('tools[0].type', 'is "code_interpreter", a tool which has no counterpart on the other side'),
    },
  },
  {
    name: 'MCP servers called by the vendor',
    says: {
      anthropic: { mcp_servers: [{ type: 'url', url: 'https://example.com', name: 'm' }] },
      responses: { tools: [{ type: 'mcp', server_label: 'm', server_url: 'https://example.com' }] },
    },
    expected: {
      anthropic: refused('mcp_servers'),
      responses: refused('tools[0].type', 'is "mcp", a tool which has no counterpart on the other side'),
    },
  },
];

function named(name: string): Readonly<Record<Dialect, Members>> {
  return {
    anthropic: { tools: [{ name, input_schema: schema, strict: false }] },
    chat: { tools: [{ type: 'function', function: { name, parameters: schema, strict: false } }] },
    responses: { tools: [{ type: 'function', name, parameters: schema, strict: false }] },
  };
}

function renamed(to: Dialect) {
  return adapted(
    'by a legal name that is always the same, and its calls come back by its own',
    named('fs_read_4074bc025755')[to],
  );
}

function leftOpen(to: 'anthropic' | 'chat') {
  const open = {
    anthropic: { tools: [{ ...weather, input_schema: schema }] },
    chat: { tools: [chatTool] },
  };
  return { kind: 'mapped', sent: open[to] } as const;
}

function notStrict() {
  return adapted('said to be not strict, since silence would make the schema strict there', tools.responses);
}

const choice: readonly RequestFeature[] = [
  {
    name: 'the model’s own choice among tools',
    says: withTool({
      anthropic: { tool_choice: { type: 'auto' } },
      chat: { tool_choice: 'auto' },
      responses: { tool_choice: 'auto' },
    }),
    sent: tools,
    expected: mapped,
  },
  {
    name: 'no call of a tool',
    says: withTool({
      anthropic: { tool_choice: { type: 'none' } },
      chat: { tool_choice: 'none' },
      responses: { tool_choice: 'none' },
    }),
    expected: mapped,
  },
  {
    name: 'a call of any tool',
    says: withTool({
      anthropic: { tool_choice: { type: 'any' } },
      chat: { tool_choice: 'required' },
      responses: { tool_choice: 'required' },
    }),
    expected: mapped,
  },
  {
    name: 'a call of any tool, where there is none',
    says: {
      anthropic: { tool_choice: { type: 'any' } },
      chat: { tool_choice: 'required' },
      responses: { tool_choice: 'required' },
    },
    expected: refused(
      'tool_choice',
      'demands a call of a tool, and that tool is not there for the model behind this name',
    ),
  },
  {
    name: 'a call of one tool by name',
    says: withTool({
      anthropic: { tool_choice: { type: 'tool', name: 'weather' } },
      chat: { tool_choice: { type: 'function', function: { name: 'weather' } } },
      responses: { tool_choice: { type: 'function', name: 'weather' } },
    }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a list of allowed tools',
    says: {
      chat: {
        tools: [...(tools.chat['tools'] as object[]), { type: 'function', function: { name: 'other' } }],
        tool_choice: {
          type: 'allowed_tools',
          allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'weather' } }] },
        },
      },
      responses: {
        tools: [...(tools.responses['tools'] as object[]), { type: 'function', name: 'other' }],
        tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'weather' }] },
      },
    },
    sent: {
      anthropic: { ...tools.anthropic, tool_choice: { type: 'any' } },
      chat: { ...tools.chat, tool_choice: 'required' },
      responses: { ...tools.responses, tool_choice: 'required' },
    },
    expected: mapped,
  },
  {
    name: 'one call at a time',
    says: withTool({
      anthropic: { tool_choice: { type: 'auto', disable_parallel_tool_use: true } },
      chat: { parallel_tool_calls: false },
      responses: { parallel_tool_calls: false },
    }),
    expected: mapped,
  },
];

export const toolFeatures: readonly RequestFeature[] = [...definitions, ...choice];
