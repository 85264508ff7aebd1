//! How long the processors of a virtual machine did something else.

use core::time::Duration;
use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// For how long, since it was started, this machine's processors had work and were not run: the
/// host gave them to somebody else. The sum over all of them, in hundredths of a second.
pub(crate) fn stolen() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("what the kernel has counted");
    // cpu user nice system idle iowait irq softirq steal
    let all = stat.lines().next().expect("all processors together");
    let ticks = all.split_whitespace().nth(8).expect("the time stolen");
    let ticks: u64 = ticks.parse().expect("a number of ticks");
    let second = sysconf(SysconfVar::CLK_TCK).expect("the length of a tick");
    let second = second.and_then(|ticks| u64::try_from(ticks).ok());
    Duration::from_millis(ticks * 1000 / second.expect("a number of ticks"))
}
