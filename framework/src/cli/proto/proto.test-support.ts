import fc from 'fast-check';

/** Texts that look like .proto files to a varying degree. */
export const protoText: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      { arbitrary: fc.constantFrom(...fragments()), weight: 8 },
      { arbitrary: fc.string({ unit: 'binary', maxLength: 6 }), weight: 1 },
    ),
    { maxLength: 60 },
  )
  .map((pieces) => pieces.join(''));

function fragments(): string[] {
  return [
    ...'syntax "proto3" edition package import message enum service rpc returns stream'.split(' '),
    ...'oneof map reserved extensions extend option optional repeated string a.b.C x1'.split(' '),
    ...'{ } ( ) [ ] < > ; = , . - + : 0 1 0x1f 07 1.5e+3 19000 to max \' " \\'.split(' '),
    ...['// comment', '/* comment */', '/*', '"text"', "'it\\'s'", '\uFEFF', '😀'],
    ...[' ', ' ', '\n', '\r\n', '\t', '\r', 'message A {', 'int32 a = 1;', '}\n'],
  ];
}
