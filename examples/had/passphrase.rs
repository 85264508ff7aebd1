//! The secret of a group.

use super::config::Carp;
use super::vhost::Passphrase;

/// Returns what the group has in the file, or in the file that it names; none is given if there
/// is neither, which the checks refuse.
pub(crate) fn of(carp: &Carp) -> Result<Passphrase, String> {
    match (&carp.passphrase, &carp.passphrase_file) {
        (Some(text), _) => Passphrase::new(text.as_bytes()),
        (None, Some(path)) => Passphrase::read(path.get_ref()),
        (None, None) => Passphrase::new(b""),
    }
}
