import { vi } from 'vitest';
import { bearer, send } from './doors.ts';
import { startWebhookReceiver, type WebhookReceiver } from './endpoint-receiver.ts';
import { startGate, type TestGate } from './gate.ts';

/** As the control API tells of it. */
export interface Endpoint {
  readonly id: string;
  readonly url: string;
  readonly state: string;
  readonly disabledReason: string;
  readonly publicKeys: readonly string[];
  readonly eventTypes: readonly string[];
  readonly oldSecretUntil?: string;
  readonly etag: string;
  readonly challenge?: {
    readonly id: string;
    readonly attempts: number;
    readonly error: string;
    nextAttemptTime?: string;
  };
}

/** As the control API tells of it. */
export interface Delivery {
  readonly id: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly state: string;
  readonly attempts: number;
}

/** Waits, not to be counted, for what comes about in the background. */
export const soon = { timeout: 20_000, interval: 50 };

/** A gate with a receiver that its webhooks may reach, and one that they may not. */
export class WebhookDesk {
  readonly gate: TestGate;
  readonly receiver: WebhookReceiver;
  readonly canary: WebhookReceiver;

  constructor(gate: TestGate, receiver: WebhookReceiver, canary: WebhookReceiver) {
    this.gate = gate;
    this.receiver = receiver;
    this.canary = canary;
  }

  /** Removes what a test left. */
  async clear(): Promise<void> {
    this.receiver.answer = null;
    const { endpoints } = await this.call<{ endpoints: Endpoint[] }>('ListWebhookEndpoints', { pageSize: 500 });
    for (const { id } of endpoints) await this.call('DeleteWebhookEndpoint', { endpointId: id });
    this.receiver.received.length = 0;
  }

  async stop(): Promise<void> {
    await this.gate.stop();
    await this.receiver.stop();
    await this.canary.stop();
  }

  call<T = Record<string, unknown>>(method: string, body: object = {}, key?: string): Promise<T> {
    return this.gate.api<T>(`WebhookService/${method}`, body, key);
  }

  /** The code and sentence of a refusal. */
  async refusal(method: string, body: object, key = this.gate.adminKey) {
    const path = `/portcullis.v1.WebhookService/${method}`;
    const headers = { ...bearer(key), 'content-type': 'application/json' };
    const { status, json } = await send(this.gate.url, { method: 'POST', path, headers, body: JSON.stringify(body) });
    return { status, code: json.details?.[0]?.debug?.code as string, message: json.message as string };
  }

  /** Registers the receiver; it is not verified yet. */
  endpoint(more: object = {}): Promise<{ endpoint: Endpoint; secret: string }> {
    return this.call('CreateWebhookEndpoint', { url: `${this.receiver.url}/hook/s3cret?token=t0ken`, ...more });
  }

  async read(id: string): Promise<Endpoint> {
    return (await this.call<{ endpoint: Endpoint }>('GetWebhookEndpoint', { endpointId: id })).endpoint;
  }

  async inState(id: string, state: string): Promise<Endpoint> {
    return vi.waitFor(async () => {
      const found = await this.read(id);
      if (found.state === `WEBHOOK_ENDPOINT_STATE_${state}`) return found;
      throw new Error(`it is ${found.state}: ${found.challenge?.error ?? ''}`);
    }, soon);
  }

  /** Registers the receiver, and waits until it is verified. */
  async active(more: object = {}): Promise<{ endpoint: Endpoint; secret: string }> {
    const made = await this.endpoint(more);
    return { ...made, endpoint: await this.inState(made.endpoint.id, 'ACTIVE') };
  }

  async delivered(id: string, state = 'DELIVERED', attempts = 1): Promise<Delivery> {
    return vi.waitFor(async () => {
      const { delivery } = await this.call<{ delivery: Delivery }>('GetWebhookDelivery', { deliveryId: id });
      if (delivery.state === `WEBHOOK_DELIVERY_STATE_${state}` && delivery.attempts === attempts) return delivery;
      throw new Error(`it is ${delivery.state} after ${delivery.attempts} attempts`);
    }, soon);
  }

  async sendTest(endpointId: string, eventType = ''): Promise<Delivery> {
    return (await this.call<{ delivery: Delivery }>('SendTestWebhook', { endpointId, eventType })).delivery;
  }
}

export async function openWebhookDesk(): Promise<WebhookDesk> {
  const receiver = await startWebhookReceiver();
  const canary = await startWebhookReceiver();
  const gate = await startGate({ env: { EGRESS_ALLOW_PRIVATE: receiver.hostAndPort } });
  return new WebhookDesk(gate, receiver, canary);
}
