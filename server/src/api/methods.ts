import { getOption, hasOption, type DescMethod, type DescService } from '@bufbuild/protobuf';
import { AgentService } from '../gen/portcullis/v1/agent_pb.ts';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import { BudgetService } from '../gen/portcullis/v1/budget_pb.ts';
import { ExportService } from '../gen/portcullis/v1/export_pb.ts';
import { JournalService } from '../gen/portcullis/v1/journal_pb.ts';
import { Access, access, scope } from '../gen/portcullis/v1/options_pb.ts';
import { PolicyService } from '../gen/portcullis/v1/policy_pb.ts';
import { ProjectService } from '../gen/portcullis/v1/project_pb.ts';
import { ReconciliationService } from '../gen/portcullis/v1/reconciliation_pb.ts';
import { RunService } from '../gen/portcullis/v1/run_pb.ts';
import { SystemService } from '../gen/portcullis/v1/system_pb.ts';
import { isScope, type Scope } from '../identity/scopes.ts';

/** What a method does to state, and who may see its answer. */
type AccessClass = 'public_read' | 'private_read' | 'write';

/** What the schema declares of a method (proto/portcullis/v1/options.proto). */
export interface MethodRule {
  readonly access: AccessClass;
  /** `authenticated`: any good credential; null: no credential is needed (public reads alone). */
  readonly scope: Scope | 'authenticated' | null;
}

const accessClasses: Readonly<Record<number, AccessClass>> = {
  [Access.PUBLIC_READ]: 'public_read',
  [Access.PRIVATE_READ]: 'private_read',
  [Access.WRITE]: 'write',
};

/**
 * Reads what the schema declares of a method.
 * @throws Error when it declares no access, no scope, or a scope that does not exist
 */
export function methodRule(method: DescMethod): MethodRule {
  const name = `${method.parent.typeName}.${method.name}`;
  const declared = accessClasses[getOption(method, access)];
  if (declared === undefined) throw new Error(`${name} declares no access class: add option (access) to the schema.`);
  if (declared === 'public_read') {
    if (hasOption(method, scope)) throw new Error(`${name} is a public read: it cannot declare a scope.`);
    return { access: declared, scope: null };
  }
  const needed = getOption(method, scope);
  if (needed !== 'authenticated' && !isScope(needed)) {
    throw new Error(`${name} declares no scope that exists ("${needed}"): add option (scope) to the schema.`);
  }
  return { access: declared, scope: needed };
}

export interface MethodRow extends MethodRule {
  readonly service: string;
  readonly method: string;
  /** Where the method is served over HTTP. */
  readonly path: string;
  /** Answered by a stream of messages. */
  readonly isStream: boolean;
}

/** Every service of the control plane, in the order of the reference. */
export const services: readonly DescService[] = [
  AgentService,
  ProjectService,
  BudgetService,
  PolicyService,
  RunService,
  JournalService,
  AnalyticsService,
  ExportService,
  ReconciliationService,
  SystemService,
];

/** Every method with what it declares, in the order of the schema; the reference page is made of it. */
export function methodTable(): MethodRow[] {
  return services.flatMap((service) =>
    service.methods.map((method) => ({
      service: service.typeName,
      method: method.name,
      path: `/${service.typeName}/${method.name}`,
      isStream: method.methodKind !== 'unary',
      ...methodRule(method),
    })),
  );
}
