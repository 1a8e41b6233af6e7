import { StoreError } from './store.js';

/** What LevelDB and the file system say in words, as a reason. LevelDB passes errno on only as its text. */
export function storeErrorOf(error: unknown, what: string): StoreError {
  if (error instanceof StoreError) return error;
  const chain = causesOf(error);
  const text = chain.map((cause) => cause.message).join(': ');
  const codes = new Set(chain.map((cause) => (cause as NodeJS.ErrnoException).code));
  return new StoreError(reasonOf(codes, text), `${what}: ${text}`, { cause: error });
}

function reasonOf(codes: ReadonlySet<string | undefined>, text: string): StoreError['reason'] {
  if (codes.has('LEVEL_LOCKED')) return 'locked';
  if (codes.has('LEVEL_CORRUPTION') || /corruption/i.test(text)) return 'corrupt';
  if (/ENOSPC|EDQUOT|no space left|quota exceeded/i.test(text)) return 'full';
  if (/EROFS|EACCES|EPERM|read-only file|permission denied|not permitted/i.test(text)) {
    return 'read-only';
  }
  return 'failed';
}

function causesOf(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let cause = error; cause instanceof Error && chain.length < 5; cause = cause.cause) {
    chain.push(cause);
  }
  return chain.length > 0 ? chain : [new Error(String(error))];
}
