import { Problem } from './problem.js';
import { readState, type ClusterState } from './state.js';

/** Where one cluster lives, and how to tell a person what is done there. */
export interface Workplace {
  /** Absolute. */
  readonly stateFolder: string;
  /** How messages call it. */
  readonly shownFolder: string;
  say(line: string): void;
}

/** The state of the cluster that a command is about; a problem when there is none. */
export function existingState({ stateFolder, shownFolder }: Workplace): ClusterState {
  const state = readState(stateFolder);
  if (state !== undefined) return state;
  throw new Problem(`There is no cluster in ${shownFolder}. Start one: \`npm run cluster\`.`, 5);
}
