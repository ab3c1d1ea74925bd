import { PortcullisError } from '../../base/errors.ts';
import { type Route, withTargets } from './routing.ts';

/**
 * The part of a route that can embed. Vectors of one model cannot be compared with those of another, so all targets of it
 * are of the model that the first of them serves, whatever the weights say.
 * @throws PortcullisError invalid_argument when no target of the route has embeddings
 */
export function embeddingRoute(route: Route, asked: string): Route {
  const able = route.targets.filter(({ provider }) => provider.embeds);
  const first = able.find(({ weight }) => weight > 0) ?? able[0];
  if (first === undefined) throw cannotEmbed(route, asked);
  return withTargets(
    route,
    able.filter(({ model }) => model === first.model),
  );
}

function cannotEmbed({ targets }: Route, asked: string): PortcullisError {
  const unable = targets.map(({ provider, model }) => `"${model ?? asked.slice(0, 100)}" at provider ${provider.name}`);
  return new PortcullisError(
    'invalid_argument',
    `"${asked.slice(0, 100)}" cannot embed: it leads to ${[...new Set(unable)].join(', ')}, and kind ${[...new Set(targets.map(({ provider }) => provider.kind))].join(' or ')} has no embeddings. Name an embedding model.`,
    { param: 'model' },
  );
}
