import { describe, expect, test } from 'vitest';
import { renderTable } from '../../cli/output.js';

describe('a table', () => {
  test('lines columns up, numbers to the right, and leaves no space at the ends of lines', () => {
    const table = renderTable<{ name: string; size: number }>(
      [
        { title: 'NAME', cell: ({ name }) => name },
        { title: 'SIZE', align: 'right', cell: ({ size }) => String(size) },
        { title: 'NOTE', cell: () => '' },
      ],
      [
        { name: 'Zu\u0308rich', size: 5 },
        { name: 'a', size: 12_345 },
      ],
    );
    expect(table.normalize('NFC')).toBe(
      ['NAME     SIZE  NOTE', 'Zürich      5', 'a       12345', ''].join('\n'),
    );
  });

  test('shows what would steer a terminal as text', () => {
    expect(renderTable([{ title: 'A', cell: (text: string) => text }], ['\u001b[31m\n'])).toBe(
      'A\n\\u001b[31m\\n\n',
    );
  });
});
