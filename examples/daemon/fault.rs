//! What is wrong with a configuration: where, what, and what may help.

use core::fmt;
use core::ops::Range;
use std::path::Path;

/// One thing that is wrong with the text of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// The octets of the text that it is about, if it is about any.
    span: Option<Range<usize>>,
    what: String,
    hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(span: Option<Range<usize>>, what: impl Into<String>) -> Self {
        Self {
            span,
            what: what.into(),
            hint: None,
        }
    }

    /// Adds what may help.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shows it with its place: `FILE:LINE:COLUMN: what`, and the hint in a line of its own.
    pub(crate) fn in_file<'a>(&'a self, path: &'a Path, text: &'a str) -> impl fmt::Display + 'a {
        InFile {
            fault: self,
            path,
            text,
        }
    }
}

/// What is wrong, without its place.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What the parser says, without the excerpt that it could show: that may hold a secret.
impl From<&toml::de::Error> for Fault {
    fn from(error: &toml::de::Error) -> Self {
        let message = error.message().trim_end();
        let fault = Self::new(error.span(), message.replace('\n', "; "));
        match near_miss(message) {
            Some(word) => fault.hint(format!("did you mean `{word}`?")),
            None => fault,
        }
    }
}

struct InFile<'a> {
    fault: &'a Fault,
    path: &'a Path,
    text: &'a str,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        let span = self.fault.span.as_ref();
        if let Some(before) = span.and_then(|span| self.text.get(..span.start)) {
            let line = before.matches('\n').count() + 1;
            let last = before.rsplit('\n').next().unwrap_or_default();
            write!(f, ":{line}:{}", last.chars().count() + 1)?;
        }
        write!(f, ": {}", self.fault.what)?;
        match &self.fault.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The word that was meant, perhaps, in an error of the form "unknown field `x`, expected `y`".
fn near_miss(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    // Every second piece is between two quotes.
    let mut words = message.split('`').skip(1).step_by(2);
    let found = words.next()?;
    nearest(found, words)
}

/// The one of these words that is nearest to what was written, if any is near enough to be what
/// was meant.
pub(crate) fn nearest<'a>(
    found: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = words.into_iter().map(|word| (distance(found, word), word));
    let (distance, word) = near.min_by_key(|(distance, _)| *distance)?;
    let longer = found.chars().count().max(word.chars().count());
    (distance * 5 <= longer * 2).then_some(word)
}

/// How many characters have to be put in, left out, replaced, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let replaced = cell(&row, j) + usize::from(a != b);
            let mut least = replaced.min(cell(&row, j + 1) + 1).min(cell(&next, j) + 1);
            let is_swap = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if is_swap {
                least = least.min(cell(&before, j - 1) + 1);
            }
            next.push(least);
        }
        before = core::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let text = "a = 1\nä = [ß, x]\n";
        let at = text.find('x').unwrap();
        let fault = Fault::new(Some(at..at + 1), "x is wrong").hint("write y");
        let told = fault.in_file(Path::new("/etc/f"), text).to_string();
        assert_eq!(told, "/etc/f:2:9: x is wrong\n    hint: write y");
        let fault = Fault::new(None, "it is empty");
        let told = fault.in_file(Path::new("/etc/f"), "").to_string();
        assert_eq!(told, "/etc/f: it is empty");
    }

    #[test]
    fn what_was_meant_is_found_if_it_is_near() {
        let words = ["interface", "vhid", "addresses"];
        assert_eq!(nearest("vihd", words), Some("vhid"));
        assert_eq!(nearest("adresses", words), Some("addresses"));
        assert_eq!(nearest("Interface", words), Some("interface"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(nearest("vhid", []), None);
        assert_eq!(
            near_miss("unknown field `nam`, expected `name`"),
            Some("name")
        );
        assert_eq!(near_miss("invalid type: string `nam`"), None);
    }

    #[test]
    fn steps_between_words_are_counted() {
        for (from, to, steps) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), steps, "{from} {to}");
        }
    }
}
