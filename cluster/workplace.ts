import { Problem } from './problem.js';
import { readState, type ClusterState } from './state.js';

/** Where one cluster lives, and how to tell a person what is done there. */
export interface Workplace {
  /** Absolute. */
  readonly stateFolder: string;
  /** How messages call it. */
  readonly shownFolder: string;
  /** What to type before a command for this cluster: `npm run cluster --`, and the folder where it is another. */
  readonly script: string;
  say(line: string): void;
}

/** The state of the cluster that a command is about; a problem when there is none. */
export function existingState({ stateFolder, shownFolder, script }: Workplace): ClusterState {
  const state = readState(stateFolder);
  if (state !== undefined) return state;
  throw new Problem(`There is no cluster in ${shownFolder}. Start one: \`${script} up\`.`, 5);
}
