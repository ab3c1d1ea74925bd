import { PortcullisError } from '../../base/errors.ts';
import type { Hold } from '../../budget/ledger.ts';
import type { Price } from '../../budget/model.ts';
import { worstCase } from '../../budget/worst-case.ts';
import { type CallPlan, describe } from './authorize.ts';
import type { Call } from './call.ts';
import type { ModelGate } from './gate.ts';
