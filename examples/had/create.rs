//! Makes the disk of a unit ready: metadata and a map without a mark. The data stay as they are.

use std::io;

use ha_core::io::block::{DiskFile, DiskOptions, FileDevice};
use ha_core::io::hast::provider::{self, Create, Existing};
use tokio::runtime::Builder;

use super::config::Config;

/// Does it for the unit of this name.
pub(crate) fn run(config: &Config, unit: &str, force: bool) -> Result<String, String> {
    let mut units = config.units.iter();
    let found = units.find(|found| ***found.name.get_ref() == *unit);
    let unit = found.ok_or_else(|| format!("there is no unit {unit}"))?;
    let resource = unit.resource.as_ref().map(|resource| resource.get_ref());
    let resource = resource.ok_or("the unit has no storage")?;
    let name = unit.resource_name().map_err(|fault| fault.to_string())?;
    let local = resource.local.display();
    let fail = |error: &dyn core::fmt::Display| format!("{local}: {error}");
    let existing = match force {
        true => Existing::Overwrite,
        false => Existing::Keep,
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| fail(&error))?;
    runtime.block_on(async {
        let mut options = DiskOptions::default();
        options.exclusive = true;
        let disk =
            DiskFile::open(&resource.local, options).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => fail(&"it is in use"),
                _ => fail(&error),
            })?;
        let device = FileDevice::new(disk);
        let made = provider::create(&device, name.clone(), Create::default(), existing).await;
        let made = made.map_err(|error| fail(&error))?;
        let size = made.layout.data_len().get();
        Ok(format!("{local}: {name}, {size} octets of data"))
    })
}
