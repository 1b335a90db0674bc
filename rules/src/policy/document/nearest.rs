//! The known word that somebody probably meant.

/// Words longer than any that is known are nobody's slip of the pen; bounds the work over a hostile text.
const WORD_CHARS_MAX: usize = 64;

/// Candidates that are looked at.
const CANDIDATES_MAX: usize = 1_024;

/// The known word that is nearest to `word`, whatever its case, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(WORD_CHARS_MAX).collect();
    let limit = (word.len() / 3).max(2);
    known
        .take(CANDIDATES_MAX)
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .min()
        .filter(|(far, _)| *far <= limit)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over characters.
fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.iter().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(&right) {
            let substituted = diagonal + usize::from(from != to);
            diagonal = *cell;
            before = substituted.min(before + 1).min(diagonal + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = || ["version", "hosts", "addresses", "ATTESTATION"].into_iter();
        for (word, meant) in [
            ("hsots", Some("hosts")),
            ("host", Some("hosts")),
            ("Version", Some("version")),
            ("attestation", Some("ATTESTATION")),
            ("ATTESTATON", Some("ATTESTATION")),
            ("adresses", Some("addresses")),
            ("clients", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known()), meant, "{word}");
        }
        assert_eq!(nearest("abc", ["abd", "abc", "abe"].into_iter()), Some("abc"));
        assert_eq!(nearest("kitten", ["sitting"].into_iter()), None);
        assert_eq!(nearest("sittin", ["sitting"].into_iter()), Some("sitting"));
    }
}
