//! A small generator of random-looking numbers, for what need not be secret.

/// xorshift (Marsaglia 2003): the number after `state`, and the next state. It never leaves 0.
#[must_use]
pub const fn xorshift(mut state: u32) -> u32 {
    state ^= state << 13;
    state ^= state >> 17;
    state ^ state << 5
}

#[cfg(test)]
mod tests {
    use super::xorshift;

    #[test]
    fn as_published() {
        assert_eq!(xorshift(2_463_534_242), 723_471_715);
        assert_eq!(xorshift(0), 0);
    }
}
