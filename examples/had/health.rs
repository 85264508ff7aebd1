//! The health checks of a unit, made of what the file says.

use ha_core::failover::HealthCheck;
use ha_core::io::failover::{
    Check, FileAge, FreeSpace, HttpError, HttpGet, PidFile, ProcessName, Replication,
    StorageReport, TcpConnect, When,
};
use tokio::sync::watch;

use super::command;
use super::config;
use super::values::{Seconds, Url};

/// After how long a node is trusted again where the file does not say.
const FORGIVE: Seconds = Seconds::new(60);

/// Makes a check. The file was checked, so it looks at just one thing; what looks at storage needs
/// its reports.
pub(crate) fn check(
    check: &config::Check,
    reports: Option<watch::Receiver<StorageReport>>,
) -> Option<Check> {
    let health = HealthCheck {
        name: check.name.get_ref().to_string(),
        rise: check.rise,
        fall: check.fall,
    };
    let made = if let Some(address) = &check.tcp {
        Check::new(health, TcpConnect::new(*address.get_ref()))
    } else if let Some(url) = &check.http {
        Check::new(health, http(check, url.get_ref()).ok()?)
    } else if let Some(line) = &check.command {
        let command = command::make(line.get_ref());
        Check::new(health, command.timeout(check.limit.get_ref().0 * 9 / 10))
    } else if let Some(age) = &check.file_age {
        let config::FileAge { path, limit } = age.get_ref();
        Check::new(health, FileAge::new(path, limit.0))
    } else if let Some(space) = &check.free_space {
        let config::FreeSpace { path, least } = space.get_ref();
        Check::new(health, FreeSpace::new(path, *least))
    } else if let Some(path) = &check.pid_file {
        Check::new(health, PidFile::new(path.get_ref()))
    } else if let Some(name) = &check.process {
        Check::new(health, ProcessName::new(name.get_ref()))
    } else {
        Check::new(health, Replication::new(reports?))
    };
    let made = made
        .interval(check.interval.get_ref().0)
        .limit(check.limit.get_ref().0);
    Some(match check.when {
        config::When::Always => made.when(When::Always),
        config::When::Active => {
            let forgive = check.forgive.as_ref().map(|forgive| *forgive.get_ref());
            let forgive = forgive.unwrap_or(FORGIVE).0;
            made.when(When::Active { forgive })
        }
    })
}

/// Makes what asks an HTTP server.
pub(crate) fn http(check: &config::Check, url: &Url) -> Result<HttpGet, HttpError> {
    let own = url.address.to_string();
    let host = check.host.as_ref().map_or(&own, |host| host.get_ref());
    let get = HttpGet::new(url.address, host, &url.path)?;
    Ok(match &check.expect {
        Some(text) => get.expect(text.get_ref()),
        None => get,
    })
}
