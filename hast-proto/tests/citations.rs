//! What comments cite of the specification is there, and what the specification says is cited
//! where the code does it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The sections of the specification: those with a heading, as 3 and 3.5, and the numbered points
/// of the last two, as 14.37.
fn sections() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let mut sections = BTreeSet::new();
    let mut chapter = String::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let heading = line.trim_start_matches('#');
        let title = heading.trim_start();
        let Some(number) = number(title) else {
            continue;
        };
        if heading.len() < line.len() {
            chapter = number.split('.').next().unwrap().to_owned();
            sections.insert(number);
        } else if chapter == "14" || chapter == "15" {
            sections.insert(format!("{chapter}.{number}"));
        }
    }
    sections
}

/// The number at the start of a text, with the part behind a dot if a digit is there.
fn number(text: &str) -> Option<String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = match digits(text) {
        0 => return None,
        whole => whole,
    };
    let part = text.get(whole..)?.strip_prefix('.').map_or(0, digits);
    let len = if part == 0 { whole } else { whole + 1 + part };
    text.get(..len).map(str::to_owned)
}

/// What a text cites: `HAST §3.5`, or more with commas and words between them.
fn cited(text: &str) -> Vec<String> {
    // Comments go on in the next line.
    let text = text
        .lines()
        .map(|line| line.trim_start().trim_start_matches(['/', '!']).trim());
    let text = text.collect::<Vec<_>>().join(" ");
    let mut cited = Vec::new();
    for citation in text.split("HAST §").skip(1) {
        let mut rest = citation;
        while let Some(found) = number(rest) {
            let behind = rest.get(found.len()..).unwrap_or_default();
            cited.push(found);
            let next = [", §", " and §"]
                .iter()
                .find_map(|between| behind.strip_prefix(between));
            if let Some(last) = behind.strip_prefix(" to §").and_then(number) {
                cited.extend(between(cited.last().unwrap(), &last));
            }
            rest = next.unwrap_or_default();
        }
    }
    cited
}

/// The sections after the first up to the last: for 9.2 and 9.4 these are 9.3 and 9.4.
fn between(first: &str, last: &str) -> Vec<String> {
    let (chapter, first) = first.split_once('.').unwrap();
    let (same, last) = last.split_once('.').unwrap();
    assert_eq!(chapter, same, "a range within one chapter");
    let [first, last]: [u32; 2] = [first, last].map(|part| part.parse().unwrap());
    (first + 1..=last)
        .map(|part| format!("{chapter}.{part}"))
        .collect()
}

/// The sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(path);
            }
        }
    }
    sources
}

#[test]
fn citations_are_understood() {
    let text =
        "/// Lists (HAST\n    /// §2.2, §3 and §4.1).\n// See HAST §12.\n/// HAST §14.37: no";
    assert_eq!(cited(text), ["2.2", "3", "4.1", "12", "14.37"]);
    assert_eq!(cited("(HAST §9.2 to §9.4)"), ["9.2", "9.3", "9.4"]);
    let sections = sections();
    for there in ["0", "1.4", "10.5", "14.1", "14.72", "15.11"] {
        assert!(sections.contains(there), "{there}");
    }
    for not_there in ["1.9", "14.73", "17"] {
        assert!(!sections.contains(not_there), "{not_there}");
    }
}

#[test]
fn every_section_cited_is_there() {
    let sections = sections();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut count = 0;
    for member in ["hast-proto", "ha-core", "examples", "fuzz"] {
        for source in sources(&workspace.join(member)) {
            // Here they are made up.
            if source.ends_with(file!()) {
                continue;
            }
            for section in cited(&std::fs::read_to_string(&source).unwrap()) {
                let at = source.display();
                assert!(sections.contains(&section), "HAST §{section} in {at}");
                count += 1;
            }
        }
    }
    println!("{count} citations");
    assert!(count > 100);
}

/// What this crate has no code for: examples, processes and threads of the original, its daemon,
/// scripts and device, and what is for those who run it.
const NOT_HERE: [&str; 13] = [
    "2.3", "6.1", "7.1", "8.5", "8.6", "10.2", "10.3", "10.4", "11.1", "11.2", "11.3", "12.1",
    "12.4",
];

#[test]
fn every_section_is_cited_where_the_code_does_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut missing = sections();
    for source in sources(&src) {
        for section in cited(&std::fs::read_to_string(source).unwrap()) {
            missing.remove(&section);
        }
    }
    // Of a chapter its sections count; the points of the last two say again what others say.
    missing.retain(|section| {
        let chapter = section.split_once('.').map(|(chapter, _)| chapter);
        chapter.is_some_and(|chapter| chapter != "14" && chapter != "15")
    });
    let missing: BTreeSet<_> = missing.iter().map(String::as_str).collect();
    assert_eq!(missing, BTreeSet::from(NOT_HERE));
}
