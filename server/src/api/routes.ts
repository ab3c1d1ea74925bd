import type { DescService } from '@bufbuild/protobuf';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { controlAnswerBytesMax, controlRequestBytesMax } from '../base/limits.ts';
import { AgentService } from '../gen/portcullis/v1/agent_pb.ts';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import { BudgetService } from '../gen/portcullis/v1/budget_pb.ts';
import { PolicyService } from '../gen/portcullis/v1/policy_pb.ts';
import { ProjectService } from '../gen/portcullis/v1/project_pb.ts';
import { ReconciliationService } from '../gen/portcullis/v1/reconciliation_pb.ts';
import { RunService } from '../gen/portcullis/v1/run_pb.ts';
import { SystemService } from '../gen/portcullis/v1/system_pb.ts';
import { agentHandler } from './agents/handler.ts';
import { requestGate } from './auth.ts';
import { budgetHandler } from './budgets/handler.ts';
import type { ServiceDeps } from './deps.ts';
import { Refusals } from './errors.ts';
import { policyHandler } from './kill/handler.ts';
import { methodRule } from './methods.ts';
import { projectHandler } from './projects/handler.ts';
import { reconciliationHandler } from './reconciliation/handler.ts';
import { runHandler } from './runs/handler.ts';
import { systemHandler } from './system/handler.ts';
import { analyticsHandler } from './usage/handler.ts';

/**
 * Registers the control plane: gRPC, gRPC-Web and Connect JSON from one implementation. The HTTP layer puts the caller
 * and the access record into the context (api/context.ts) before.
 * @throws Error when the schema declares no access class or scope for a method
 */
export function registerServices(router: ConnectRouter, deps: ServiceDeps): void {
  const register = serviceRegistrar(router, new Refusals(deps.log, deps.refusals));
  register(AgentService, agentHandler(deps));
  register(ProjectService, projectHandler(deps));
  register(BudgetService, budgetHandler(deps));
  register(PolicyService, policyHandler(deps));
  register(RunService, runHandler(deps));
  register(AnalyticsService, analyticsHandler(deps));
  register(ReconciliationService, reconciliationHandler(deps));
  register(SystemService, systemHandler(deps));
}

/** Puts the one authorization layer, the error answers and the bounds of messages around each service. */
export function serviceRegistrar(router: ConnectRouter, refusals: Refusals) {
  return <T extends DescService>(service: T, handler: ServiceImpl<T>): void => {
    const rules = new Map(service.methods.map((method) => [method, methodRule(method)]));
    router.service(service, handler, {
      requestGate: requestGate(rules, refusals),
      interceptors: [refusals.interceptor],
      readMaxBytes: controlRequestBytesMax,
      writeMaxBytes: controlAnswerBytesMax,
      // A misspelt field must not pass for one that was left out, and a zero must not look like nothing.
      jsonOptions: { ignoreUnknownFields: false, alwaysEmitImplicit: true },
    });
  };
}
