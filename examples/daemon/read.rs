//! Files that are read whole, such as configurations and passphrases.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

/// The longest configuration that is read.
pub(crate) const MAX_TEXT: u64 = 1 << 20;

/// Reads a regular file of at most `most` octets, which are wiped when they are dropped. An error
/// names the file.
pub(crate) fn octets(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    // Before it is opened: a pipe would wait for somebody to write.
    let metadata = fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() {
        return Err(format!("{}: it is not a regular file", path.display()));
    }
    let file = File::open(path).map_err(fail)?;
    // No more than `most`, whatever the length that it claims to have. That length saves copies,
    // which would not be wiped.
    let claimed = usize::try_from(metadata.len().min(most)).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(claimed + 1));
    file.take(most + 1).read_to_end(&mut text).map_err(fail)?;
    if u64::try_from(text.len()).map_or(true, |length| length > most) {
        return Err(format!("{}: more than {most} bytes", path.display()));
    }
    Ok(text)
}

/// Reads the text of a configuration.
pub(crate) fn text(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = octets(path, MAX_TEXT)?;
    let text = core::str::from_utf8(&text);
    let text = text.map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_with_limits_and_errors_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let error = text(&path).unwrap_err();
        assert!(error.contains("a.toml") && error.contains("No such file"));
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(text(&path).unwrap_err().ends_with("it is not UTF-8"));
        fs::write(&path, vec![b' '; 1 << 20 | 1]).unwrap();
        let error = text(&path).unwrap_err();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
        for device in ["/dev/zero", "/"] {
            let error = text(Path::new(device)).unwrap_err();
            assert!(error.ends_with("it is not a regular file"), "{error}");
        }
        // It claims to be empty.
        let error = octets(Path::new("/proc/self/status"), 10).unwrap_err();
        assert!(error.ends_with("more than 10 bytes"), "{error}");
    }
}
