//! Commands of the file, as the steps of a unit run them.

use ha_core::io::failover::Command;

use super::values::CommandLine;

/// Makes a command of its words.
pub(crate) fn make(line: &CommandLine) -> Command {
    Command::new(&line.program).args(&line.args)
}
