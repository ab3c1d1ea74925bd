import { PortcullisError } from '../../base/errors.ts';

/** The error that `action` must throw. */
export function refusalOf(action: () => unknown): PortcullisError {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof PortcullisError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was refused');
}
