//! What is on the provider of a resource, read and written without hastd.

use std::io;

use ha_core::io::block::{DiskFile, DiskOptions, FileDevice};
use ha_core::io::hast::provider::{self, Create, Existing, ProviderError};
use hast_proto::conf::ResourceConfig;
use hast_proto::{BlockError, ExtentSize, KeepDirty, Length, Metadata, NumberError, ResourceName};

use super::failure::{Failure, Status};
use super::options::Sizes;

/// Writes fresh metadata, unless there are some that would be lost, or somebody uses the provider.
pub(crate) fn create(
    resource: &ResourceConfig,
    sizes: Sizes,
    force: bool,
) -> Result<Metadata, Failure> {
    let wanted = layout(sizes).map_err(|error| about(resource, Status::Data, &error))?;
    let existing = match force {
        true => Existing::Overwrite,
        false => Existing::Keep,
    };
    let name = name(resource)?;
    let created = wait(async {
        let mut options = DiskOptions::default();
        options.exclusive = true;
        let device = open(resource, options)?;
        provider::create(&device, name, wanted, existing)
            .await
            .map_err(|error| refused(resource, &error))
    });
    created?
}

/// Reads the metadata, whether hastd uses the provider or not.
pub(crate) fn read(resource: &ResourceConfig) -> Result<Metadata, Failure> {
    let expected = name(resource)?;
    let block = wait(async {
        let mut options = DiskOptions::default();
        options.read_only = true;
        let device = open(resource, options)?;
        let read = provider::read(&device).await;
        read.map_err(|error| about(resource, Status::Unreadable, &error))
    });
    let metadata = block
        .and_then(|block| block)
        .map_err(|failure| Failure::new(Status::Unreadable, failure.text))?
        .metadata;
    if metadata.resource != expected {
        let found = metadata.resource;
        let error = BlockError::OtherResource { expected, found };
        return Err(about(resource, Status::Unreadable, &error));
    }
    Ok(metadata)
}

fn open(resource: &ResourceConfig, options: DiskOptions) -> Result<FileDevice, Failure> {
    let file =
        DiskFile::open(resource.local.as_str(), options).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => {
                about(resource, Status::NoInput, &"it is in use")
            }
            _ => about(resource, Status::NoInput, &error),
        })?;
    Ok(FileDevice::new(file))
}

fn layout(sizes: Sizes) -> Result<Create, NumberError> {
    let mut create = Create::default();
    if let Some(size) = sizes.extent_size {
        create.extent_size = ExtentSize::new(size.0)?;
    }
    if let Some(number) = sizes.keep_dirty {
        create.keep_dirty = KeepDirty::new(number)?;
    }
    create.media = sizes.media_size.map(|size| Length::new(size.0));
    Ok(create)
}

fn refused(resource: &ResourceConfig, error: &ProviderError) -> Failure {
    match error {
        ProviderError::Io {
            action: "write", ..
        } => about(resource, Status::Io, error),
        ProviderError::Io { .. } => about(resource, Status::NoInput, error),
        ProviderError::Exists { .. } | ProviderError::Block(_) => {
            let text = format!("{error}; --force overwrites it");
            about(resource, Status::CannotCreate, &text)
        }
        _ => about(resource, Status::Data, error),
    }
}

fn name(resource: &ResourceConfig) -> Result<ResourceName, Failure> {
    let name = ResourceName::new(resource.name.as_str());
    name.map_err(|error| about(resource, Status::Data, &error))
}

fn about(resource: &ResourceConfig, status: Status, what: &dyn core::fmt::Display) -> Failure {
    let text = format!("resource {}: {}: {what}", resource.name, resource.local);
    Failure::new(status, text)
}

/// Waits for the disk.
fn wait<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Failure::new(Status::System, error))?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use hast_proto::Role;
    use hast_proto::conf::{self, Host};

    use super::super::options::Size;
    use super::*;

    const DEFAULT: Sizes = Sizes {
        extent_size: None,
        keep_dirty: None,
        media_size: None,
    };

    fn resource(name: &str, local: &Path) -> ResourceConfig {
        let text = format!(
            "resource {name} {{ on h {{ local {} remote none }} }}\n",
            local.display()
        );
        let file = conf::File::parse(text.as_bytes()).unwrap();
        file.select(&Host::new("h")).unwrap().resources.remove(0)
    }

    #[test]
    fn what_create_writes_is_read_back_and_not_overwritten() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        let shared = resource("shared", file.path());
        assert_eq!(read(&shared).unwrap_err().status, 255);
        let sizes = Sizes {
            extent_size: Some(Size(1 << 20)),
            keep_dirty: Some(8),
            media_size: Some(Size(8 << 20)),
        };
        let created = create(&shared, sizes, false).unwrap();
        assert_eq!(created.layout.extent_size().get(), 1 << 20);
        assert_eq!(created.keep_dirty, 8);
        assert_eq!(created.previous_role, Role::Init);
        assert_eq!(read(&shared).unwrap(), created);

        let refused = create(&shared, DEFAULT, false).unwrap_err();
        assert_eq!(refused.status, 73);
        assert!(refused.text.contains("--force"), "{}", refused.text);
        // Of another resource, too.
        let other = resource("other", file.path());
        assert_eq!(create(&other, DEFAULT, false).unwrap_err().status, 73);
        assert_eq!(read(&other).unwrap_err().status, 255);
        assert_eq!(read(&shared).unwrap(), created);
        let forced = create(&other, DEFAULT, true).unwrap();
        assert_eq!(read(&other).unwrap(), forced);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_status_of_the_original() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        let shared = resource("shared", file.path());
        let with = |sizes: Sizes| create(&shared, sizes, false).unwrap_err().status;
        let (odd, large) = (Some(Size(3 << 20)), Some(Size(17 << 20)));
        assert_eq!(
            with(Sizes {
                extent_size: odd,
                ..DEFAULT
            }),
            65
        );
        assert_eq!(
            with(Sizes {
                media_size: large,
                ..DEFAULT
            }),
            65
        );
        assert_eq!(
            with(Sizes {
                keep_dirty: Some(1),
                ..DEFAULT
            }),
            65
        );
        let missing = resource("shared", Path::new("/nonexistent/provider"));
        assert_eq!(create(&missing, DEFAULT, true).unwrap_err().status, 66);
        assert_eq!(read(&missing).unwrap_err().status, 255);
        // Nothing was written by any of these.
        assert!(read(&shared).unwrap_err().text.contains("blank"));
    }

    #[test]
    fn a_provider_in_use_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        let shared = resource("shared", file.path());
        let held = File::open(file.path()).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let refused = create(&shared, DEFAULT, true).unwrap_err();
        assert_eq!(refused.status, 66);
        assert!(refused.text.ends_with("it is in use"), "{}", refused.text);
        drop(held);
        create(&shared, DEFAULT, false).unwrap();
    }
}
