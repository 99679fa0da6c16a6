import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { covers, overlap, patternFault, topicFault } from './patterns.js';

const limits = { topicBytes: 32, topicTokens: 4 };

describe('syntax', () => {
  test.each(['a', 'orders.eu.created', 'a.b.c.d', 'Größe.µ', 'a$.b-c_d/e'])(
    '%s is a topic',
    (topic) => {
      expect(topicFault(topic, limits)).toBeUndefined();
      expect(patternFault(topic, limits)).toBeUndefined();
    },
  );

  test.each(['*', '>', 'a.*', '*.b.>', '*.*.*.>'])('%s is a pattern and no topic', (pattern) => {
    expect(patternFault(pattern, limits)).toBeUndefined();
    expect(topicFault(pattern, limits)).toMatch(
      /token \d of the topic has [*>], which only patterns/,
    );
  });

  test.each([
    ['', 'is empty'],
    ['.', 'token 1 of the pattern is empty'],
    ['a..b', 'token 2 of the pattern is empty'],
    ['a.', 'token 2 of the pattern is empty'],
    ['$SYS.a', 'token 1 of the pattern begins with $'],
    ['a.$b', 'token 2 of the pattern begins with $'],
    ['a b', 'token 1 of the pattern has white space'],
    ['a.b\n', 'token 2 of the pattern has white space or a control character'],
    ['a.\u0000', 'token 2'],
    ['>.a', 'token 1 of the pattern is >, which has to be the last'],
    ['a.b*', 'token 2 of the pattern has * beside other characters'],
    ['a.>>', 'token 2 of the pattern has > beside other characters'],
    ['a.b.c.d.e', 'has 5 tokens, more than 4'],
    ['ä'.repeat(17), 'has 34 bytes, more than 32'],
  ])('%j is neither', (text, said) => {
    expect(patternFault(text, limits)).toContain(said);
    expect(topicFault(text, limits)).toBeDefined();
  });
});

describe('relations', () => {
  test.each([
    ['>', 'a.*.>', true],
    ['a.*', 'a.b', true],
    ['a.*', 'a.*', true],
    ['a.>', 'a', false],
    ['a.>', 'a.>', true],
    ['a.*', 'a.>', false],
    ['a.b', 'a.*', false],
    ['*.b', 'a.b.c', false],
  ])('%s covers %s: %s', (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });

  const token = fc.constantFrom('a', 'b', '*');
  const pattern = fc
    .tuple(fc.array(token, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([tokens, rest]) => [...tokens, ...(rest ? ['>'] : [])].join('.'));
  // Three letters, one more than patterns name, and one token more than patterns have: enough to tell
  // any two patterns apart.
  const letters = ['a', 'b', 'c'];
  const topics: string[] = [];
  let longest = letters;
  for (let length = 1; length <= 5; length++) {
    topics.push(...longest);
    longest = longest.flatMap((topic) => letters.map((letter) => `${topic}.${letter}`));
  }
  const matched = (of: string) => {
    const expression = of.split('.').map((part) => {
      if (part === '>') return '.+';
      return part === '*' ? '[^.]+' : part;
    });
    const matcher = new RegExp(`^${expression.join('\\.')}$`);
    return new Set(topics.filter((topic) => matcher.test(topic)));
  };

  test('are those of the sets of topics', () => {
    fc.assert(
      fc.property(pattern, pattern, (one, other) => {
        const [left, right] = [matched(one), matched(other)];
        const common = [...right].filter((topic) => left.has(topic)).length;
        expect(covers(one, other)).toBe(common === right.size);
        expect(overlap(one, other)).toBe(common > 0);
      }),
    );
  });
});
