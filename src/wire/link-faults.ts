import { NO_FAULT_SETTINGS, type FaultSettings } from './reports.js';

/** Faults between this node and others, asked about at every call so that they can change at any moment. */
export interface LinkFaults {
  /** Nothing is sent to this node: neither calls nor answers. */
  dropsTo(nodeId: string): boolean;
  /** Nothing of this node is heard: neither calls nor answers. */
  dropsFrom(nodeId: string): boolean;
  /** Before every call to another node and every answer. */
  readonly delayMs: number;
}

export const NO_FAULTS: LinkFaults = {
  dropsTo: () => false,
  dropsFrom: () => false,
  delayMs: 0,
};

/** Faults that an operator injects: a cut network, a slow one, a clock that is off. */
export class InjectedFaults implements LinkFaults {
  #settings: FaultSettings = NO_FAULT_SETTINGS;

  get settings(): FaultSettings {
    return this.#settings;
  }

  /** Replaces them all. */
  set(settings: FaultSettings): void {
    this.#settings = settings;
  }

  get delayMs(): number {
    return this.#settings.delayMs;
  }

  /** For the node's clock. */
  get skewMs(): number {
    return this.#settings.skewMs;
  }

  dropsTo(nodeId: string): boolean {
    return this.#settings.dropTo.includes(nodeId);
  }

  dropsFrom(nodeId: string): boolean {
    return this.#settings.dropFrom.includes(nodeId);
  }

  /** In words, for status; empty when there are none. */
  describe(): string[] {
    const { dropTo, dropFrom, delayMs, skewMs } = this.#settings;
    return [
      ...dropTo.map((node) => `sends nothing to ${node}`),
      ...dropFrom.map((node) => `hears nothing of ${node}`),
      ...(delayMs === 0 ? [] : [`delays by ${delayMs} ms`]),
      ...(skewMs === 0 ? [] : [`clock skewed by ${skewMs} ms`]),
    ];
  }
}
