const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `5s`, `1.5m`, `2h` or `7d` in milliseconds; undefined for anything else. A bare number is refused: of what? */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text.trim());
  if (match === null) return undefined;
  const [, amount = '', unit = ''] = match;
  return Math.round(Number(amount) * (UNIT_MS[unit] as number));
}

/** For people: `850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`;
  const seconds = Math.round(durationMs / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return inTwo(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return inTwo(hours, 'h', minutes % 60, 'min');
  return inTwo(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function inTwo(amount: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${amount} ${unit}` : `${amount} ${unit} ${rest} ${restUnit}`;
}

/** For people: `0.4 ms`, `-800.0 ms`; never `-0.0 ms`. */
export function formatMs(ms: number): string {
  return `${(Math.round(ms * 10) / 10 || 0).toFixed(1)} ms`;
}

/** For people: `999 B`, `12.3 KiB`, `4.0 GiB`. */
export function formatBytes(bytes: number): string {
  let amount = bytes;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (amount < 1_024) return unit === 'B' ? `${amount} B` : `${amount.toFixed(1)} ${unit}`;
    amount /= 1_024;
  }
  return `${amount.toFixed(1)} TiB`;
}

/** For people: thousands apart, `171,075`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}
