import { describe, expect, test } from 'vitest';
import { complete, completionText } from '../../cli/completion.js';
import { createProgram } from '../../cli/program.js';

const program = createProgram();

function words(...line: string[]): string[] {
  return complete(program, line).words.map(([word]) => word);
}

describe('completing a command line', () => {
  test('offers commands, and those below a command', () => {
    expect(words('')).toEqual(expect.arrayContaining(['get', 'put', 'import', 'cluster', 'serve']));
    expect(words('clu')).toEqual(['cluster']);
    expect(words('cluster', '')).toEqual(expect.arrayContaining(['status', 'members']));
    expect(words('ver')).toEqual(['verify', 'version']);
    expect(words('repair', '--n')).toEqual(['--node']);
    expect(words('verify', '--l')).toEqual(['--limit']);
    expect(words('--endpoints', 'a:1', 'node', 'st')).toEqual(['status']);
  });

  test('hides what is not for people', () => {
    expect(words('')).not.toContain('complete');
    expect(words('')).not.toContain('echo-server');
  });

  test('offers the options of a command and those of all commands', () => {
    expect(words('get', 'k', '--')).toEqual(
      expect.arrayContaining(['--key-hex', '--receipt', '--consistency', '--output', '--help']),
    );
    expect(words('cluster', 'placement', '--k')).toEqual(['--key', '--key-hex']);
  });

  test('offers the values of an option, after a space and after =', () => {
    expect(words('get', '--consistency', 'LO')).toEqual(['LOCAL_ONE', 'LOCAL_QUORUM']);
    expect(words('get', '--consistency=q')).toEqual(['--consistency=QUORUM']);
    expect(words('-o', 'j')).toEqual(['json', 'jsonl']);
    expect(words('get', '--timeout', '')).toEqual([]);
  });

  test('offers choices of an argument, and asks for files where a file may stand', () => {
    expect(words('completion', '')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']));
    expect(complete(program, ['import', '']).files).toBe(true);
    expect(complete(program, ['import', '--rejects', '']).files).toBe(true);
    expect(complete(program, ['get', '']).files).toBe(false);
  });

  test('answers a word a line, with its description', () => {
    expect(completionText({ words: [['a', 'first\nmore']], files: true })).toBe(
      'a\tfirst\n:files\n',
    );
  });
});
