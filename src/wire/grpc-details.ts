/** What the commonest failures of a socket mean. */
const SOCKET_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to its network',
  ETIMEDOUT: 'no answer to connecting',
};

const MOMENT = / \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/;

/** `Deadline exceeded after 5.002s,name resolution: 0.004s,Waiting for LB pick` */
const DEADLINE = /^Deadline exceeded after ([\d.]+)s\b/;

/** What grpc-js says of a failure, without its wrapping, the time, and the address, which whoever asked knows. */
export function plainDetails(details: string): string {
  if (details.startsWith('Name resolution failed')) return 'its name cannot be resolved';
  const waited = DEADLINE.exec(details)?.[1];
  if (waited !== undefined) return `no answer within ${Number(Number(waited).toFixed(1))} s`;
  const last = /^No connection established\. Last error: (.*?)\.? Resolution note: /s.exec(details);
  const reason = last?.[1] ?? details;
  const socketError = /\b(?:connect|read|write) (E[A-Z]+)\b/.exec(reason)?.[1] ?? '';
  return SOCKET_ERRORS[socketError] ?? reason.replace(/^Error: /, '').replace(MOMENT, '');
}
