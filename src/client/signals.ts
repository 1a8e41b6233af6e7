/** What a signal can cancel. An AbortController is one. */
export interface Abortable {
  abort(reason: unknown): void;
}

/** All that one signal cancels. */
class SignalGroup {
  readonly members = new Set<Abortable>();

  constructor(readonly signal: AbortSignal) {}

  handleEvent(): void {
    groups.delete(this.signal);
    // The latest first, so that none that waits for a place on the connection is sent on its way out.
    for (const member of [...this.members].reverse()) member.abort(this.signal.reason);
  }
}

const groups = new WeakMap<AbortSignal, SignalGroup>();

/**
 * Aborts `member` when the signal fires, unless it is released before. However many members there are, the signal has one
 * listener: from the eleventh on Node.js would warn of a leak.
 */
export function abortWith(signal: AbortSignal, member: Abortable): void {
  let group = groups.get(signal);
  if (group === undefined) {
    group = new SignalGroup(signal);
    groups.set(signal, group);
    signal.addEventListener('abort', group, { once: true });
  }
  group.members.add(member);
}

export function releaseFrom(signal: AbortSignal, member: Abortable): void {
  const group = groups.get(signal);
  if (group === undefined || !group.members.delete(member) || group.members.size > 0) return;
  groups.delete(signal);
  signal.removeEventListener('abort', group);
}
