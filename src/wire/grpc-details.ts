/** What the commonest failures of a socket mean. */
const SOCKET_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to its network',
  ETIMEDOUT: 'no answer to connecting',
};

const MOMENT = / \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/;

/** What grpc-js says of a failure, without its wrapping, the time, and the address, which whoever asked knows. */
export function plainDetails(details: string): string {
  if (details.startsWith('Name resolution failed')) return 'its name cannot be resolved';
  const last = /^No connection established\. Last error: (.*?)\.? Resolution note: /s.exec(details);
  const reason = last?.[1] ?? details;
  const socketError = /\b(?:connect|read|write) (E[A-Z]+)\b/.exec(reason)?.[1] ?? '';
  return SOCKET_ERRORS[socketError] ?? reason.replace(/^Error: /, '').replace(MOMENT, '');
}
