//! The secret of a user of etcd.

use std::path::Path;

use zeroize::Zeroizing;

use super::read;

/// How much of a file is read.
const MAX_FILE: u64 = 512;

/// Returns the first line of a file. An error names the file, and does not show what is in it.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let octets = read::octets(path, MAX_FILE)?;
    let shown = path.display();
    let text = core::str::from_utf8(&octets).map_err(|_| format!("{shown}: it is not UTF-8"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(format!("{shown}: its first line is empty")),
    }
}
