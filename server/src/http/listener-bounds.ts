import {
  answerBytesPerSMin,
  connectionsMax,
  keepAliveIdleMs,
  requestTimeoutMs,
  tlsHandshakeMs,
  unreadAnswerMs,
  unreadBodyMs,
} from '../base/limits.ts';

/** How many connections a listener has, and how long each may take for what. Tests take less of all. */
export interface ListenerBounds {
  readonly connectionsMax: number;
  readonly handshakeMs: number;
  readonly idleMs: number;
  readonly requestMs: number;
  readonly unreadBodyMs: number;
  readonly unreadAnswerMs: number;
  /** Bytes that a client must take in a second, on the whole, of an answer that is written to its end. */
  readonly answerBytesPerSMin: number;
}

/** Those of every listener of a gate. */
export const listenerBounds: ListenerBounds = {
  connectionsMax,
  handshakeMs: tlsHandshakeMs,
  idleMs: keepAliveIdleMs,
  requestMs: requestTimeoutMs,
  unreadBodyMs,
  unreadAnswerMs,
  answerBytesPerSMin,
};
