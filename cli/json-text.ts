const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * JSON text without the white space between its tokens, and otherwise as it was written: numbers keep all their digits and
 * strings their escapes, which parsing and printing again would not. The caller has parsed it, so that it is known to be JSON.
 */
export function compactJson(text: string): string {
  let kept = '';
  let from = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) {
      inString = true;
    } else if (code <= 0x20) {
      kept += text.slice(from, at);
      from = at + 1;
    }
  }
  return from === 0 ? text : kept + text.slice(from);
}

/** The parsed value, or why the text is not JSON. */
export function parseJson(
  text: string,
):
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly reason: string } {
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch (error) {
    // V8 quotes the text, line breaks included; a reason is one line.
    const [reason = ''] = (error as Error).message.split('\n', 1);
    return { ok: false, reason: `is not JSON: ${reason}` };
  }
}
