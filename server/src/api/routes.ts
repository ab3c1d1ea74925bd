import type { DescService } from '@bufbuild/protobuf';
import { type ConnectRouter, createConnectRouter, type Interceptor, type ServiceImpl } from '@connectrpc/connect';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { controlAnswerBytesMax, controlRequestBytesMax } from '../base/limits.ts';
import { AgentService } from '../gen/portcullis/v1/agent_pb.ts';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import { BudgetService } from '../gen/portcullis/v1/budget_pb.ts';
import { ExportService } from '../gen/portcullis/v1/export_pb.ts';
import { JournalService } from '../gen/portcullis/v1/journal_pb.ts';
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
import { exportHandler } from './export/handler.ts';
import { requestHandlers } from './idempotent-writes.ts';
import { journalHandler } from './journal/handler.ts';
import { killHandler } from './kill/handler.ts';
import { policyHandler } from './policy/handler.ts';
import { policyPartsHandler } from './policy/parts-handler.ts';
import { leaderboardHandler } from './leaderboard/handler.ts';
import { promptHandler } from './leaderboard/prompts.ts';
import { methodRule, services } from './methods.ts';
import { projectHandler } from './projects/handler.ts';
import { reconciliationHandler } from './reconciliation/handler.ts';
import { RequestsInFlight } from './requests-in-flight.ts';
import { runHandler } from './runs/handler.ts';
import { signatureInterceptor } from './signature.ts';
import { systemHandler } from './system/handler.ts';
import { telemetrySummaryHandler } from './telemetry/summary.ts';
import { usageHandler } from './usage/handler.ts';
import { retentionHandler } from './usage/retention.ts';
import { Validation } from './validation.ts';

/**
 * The handlers of all methods, made once for all listeners.
 * @throws Error when the schema declares no access class or scope for a method
 */
export function controlHandlers(deps: ServiceDeps): readonly UniversalHandler[] {
  const router = createConnectRouter({ acceptCompression: [compressionGzip, compressionBrotli] });
  registerServices(router, deps);
  return router.handlers;
}

/**
 * Registers the control plane: gRPC, gRPC-Web and Connect JSON from one implementation. The HTTP layer puts the caller
 * and the access record into the context (api/context.ts) before.
 * @throws Error when the schema declares no access class or scope for a method
 */
export function registerServices(router: ConnectRouter, deps: ServiceDeps): void {
  const validation = new Validation();
  for (const service of services) for (const { input } of service.methods) validation.compile(input);
  const registrar = serviceRegistrar(router, new Refusals(deps.log, deps.refusals), [
    signatureInterceptor(deps.signatures),
    validation.interceptor,
  ]);
  const parts = { ...deps, inFlight: new RequestsInFlight() };
  const register: typeof registrar = (service, handler) => registrar(service, requestHandlers(service, handler, parts));
  register(AgentService, agentHandler(deps));
  register(ProjectService, projectHandler(deps));
  register(BudgetService, budgetHandler(deps));
  register(PolicyService, { ...killHandler(deps), ...policyHandler(deps), ...policyPartsHandler(deps) });
  register(RunService, runHandler(deps));
  register(JournalService, journalHandler(deps));
  register(AnalyticsService, {
    ...usageHandler(deps),
    ...retentionHandler(deps),
    ...promptHandler(deps),
    ...leaderboardHandler(deps),
    ...telemetrySummaryHandler(deps),
  });
  register(ExportService, exportHandler(deps));
  register(ReconciliationService, reconciliationHandler(deps));
  register(SystemService, systemHandler(deps));
}

/**
 * Puts around each service what every request passes: access on its headers, the bounds of messages, error answers, and
 * then `interceptors` in their order (decision 0018).
 */
export function serviceRegistrar(router: ConnectRouter, refusals: Refusals, interceptors: readonly Interceptor[]) {
  return <T extends DescService>(service: T, handler: ServiceImpl<T>): void => {
    const rules = new Map(service.methods.map((method) => [method, methodRule(method)]));
    router.service(service, handler, {
      requestGate: requestGate(rules, refusals),
      interceptors: [refusals.interceptor, ...interceptors],
      readMaxBytes: controlRequestBytesMax,
      writeMaxBytes: controlAnswerBytesMax,
      // A misspelt field must not pass for one that was left out, and a zero must not look like nothing.
      jsonOptions: { ignoreUnknownFields: false, alwaysEmitImplicit: true },
    });
  };
}
