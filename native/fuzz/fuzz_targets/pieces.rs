//! Cuts an input the way a network might: sizes come from a few bytes of the fuzzer's choosing.

/// `input` in pieces of the sizes that `sizes` names, over and over; a size of 0 is an empty piece.
pub fn pieces<'a>(input: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = input;
    let mut turn = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = match sizes.get(turn % sizes.len().max(1)) {
            // An empty piece is worth a try, an endless row of them is not.
            Some(0) if turn < sizes.len() => 0,
            Some(&size) => usize::from(size).max(1),
            None => 1,
        };
        turn += 1;
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        rest = tail;
        Some(piece)
    })
}
