const typeBytes = 1;
const lengthBytes = 4;
const notification = 'A'.charCodeAt(0);

/**
 * What a PostgreSQL server says on one connection, without its notifications (PostgreSQL, "Message Formats",
 * NotificationResponse). Each message has its type in a byte and its length in four; the length does not count the type.
 */
export function withoutNotifications(): (chunk: Buffer) => Buffer {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const kept: Buffer[] = [];
    while (rest.length >= typeBytes + lengthBytes) {
      const end = typeBytes + rest.readInt32BE(typeBytes);
      if (rest.length < end) break;
      if (rest[0] !== notification) kept.push(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
    return Buffer.concat(kept);
  };
}
