//! Mounting, checking and unmounting ext4 on loop devices, in a mount namespace of its own.
//!
//! ```sh
//! cargo test -p ha-core --all-features --test mount -- --ignored
//! ```

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

use core::time::Duration;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Std, Stdio};

use ha_core::failover::Action;
use ha_core::io::failover::{FileSystem, Job, Lazy, Mount, MountError, StepError};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test on a thread in a mount namespace of its own, which vanishes with the thread.
fn alone(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        run("mount", &["--make-rprivate", "/"]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Std::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// ext4 in a file, as a loop device, and a place to mount it. All of it is removed at the end.
struct Disk {
    folder: TempDir,
    device: PathBuf,
    target: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let text = image.to_str().unwrap();
        run("mkfs.ext4", &["-q", "-F", text]);
        // Of several tests that look for a free one at the same time, one gets it.
        let device = (0..20).find_map(|_| {
            let output = Std::new("losetup")
                .args(["--find", "--show", text])
                .output()
                .unwrap();
            let found = String::from_utf8(output.stdout).unwrap();
            output.status.success().then(|| PathBuf::from(found.trim()))
        });
        let target = folder.path().join("target of it");
        fs::create_dir(&target).unwrap();
        Self {
            device: device.expect("a free loop device"),
            target,
            folder,
        }
    }

    fn mount(&self) -> Mount {
        let mount = Mount::new(&self.device, &self.target, "ext4").unwrap();
        mount.options("noatime,nodev").patience(SECOND)
    }

    fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let target = self.target.to_str().unwrap().replace(' ', "\\040");
        table
            .lines()
            .any(|line| line.split(' ').nth(4) == Some(&target))
    }

    /// A process that keeps a file open there.
    fn user(&self, script: &str) -> User {
        let path = self.target.join("file");
        fs::write(&path, "x").unwrap();
        let mut user = Std::new("sh")
            .args(["-c", &format!("{script} echo; exec sleep 1000")])
            .stdin(File::open(&path).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It has begun when it says so.
        let mut line = [0; 1];
        std::io::Read::read_exact(user.stdout.as_mut().unwrap(), &mut line).unwrap();
        User(user)
    }

    /// One that is in this folder.
    fn sleeper(folder: &Path) -> User {
        let mut sleep = Std::new("sleep");
        sleep.arg("1000").current_dir(folder).stdin(Stdio::null());
        User(
            sleep
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

/// A process that ends with the test at the latest.
struct User(Child);

impl User {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// By which signal it was ended.
    fn ended_by(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        self.0.wait().unwrap().signal()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where a test failed, it may be mounted still, or be in use.
        let target = self.target.to_str().unwrap();
        for _ in 0..4 {
            let _ = Std::new("umount")
                .args(["-l", target])
                .stderr(Stdio::null())
                .status();
        }
        let device = self.device.to_str().unwrap();
        let detached = Std::new("losetup").args(["--detach", device]).status();
        assert!(detached.unwrap().success() || std::thread::panicking());
    }
}

fn job(action: Action) -> Job {
    Job::new(action, "files", Instant::now() + 10 * SECOND, None).0
}

fn fault(result: Result<(), StepError>) -> MountError {
    match result {
        Err(StepError::Mount(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn it_is_checked_mounted_and_unmounted_and_each_may_be_repeated() {
    alone(async || {
        let disk = Disk::new();
        let mount = disk.mount();
        mount.unmount(&job(Action::Unmount)).await.unwrap();
        for _ in 0..2 {
            mount.check(&job(Action::Check)).await.unwrap();
            mount.mount(&job(Action::Mount)).await.unwrap();
            assert!(disk.is_mounted());
        }
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let device = disk.device.to_str().unwrap();
        let lines: Vec<&str> = table.lines().filter(|line| line.contains(device)).collect();
        assert_eq!(lines.len(), 1, "mounted once: {table}");
        assert!(lines[0].contains("nodev,noatime"), "{table}");
        fs::write(disk.target.join("file"), "kept").unwrap();
        for _ in 0..2 {
            mount.unmount(&job(Action::Unmount)).await.unwrap();
            assert!(!disk.is_mounted());
        }
        mount.mount(&job(Action::Mount)).await.unwrap();
        assert_eq!(fs::read(disk.target.join("file")).unwrap(), b"kept");
        mount.unmount(&job(Action::Unmount)).await.unwrap();
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_damaged_file_system_is_repaired_or_refused() {
    alone(async || {
        let disk = Disk::new();
        let mount = disk.mount();
        // A count that is wrong is put right.
        let device = disk.device.to_str().unwrap();
        run("debugfs", &["-w", "-R", "ssv free_blocks_count 5", device]);
        run("debugfs", &["-w", "-R", "ssv state 0", device]);
        mount.check(&job(Action::Check)).await.unwrap();
        run("e2fsck", &["-n", "-f", device]);
        // What needs a decision is left to people.
        run("debugfs", &["-w", "-R", "clri <2>", device]);
        run("debugfs", &["-w", "-R", "ssv state 0", device]);
        let refused = mount.check(&job(Action::Check)).await;
        let Err(StepError::Command(error)) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.code() & 4 != 0, "{error}");
        let kernel = mount.mount(&job(Action::Mount)).await;
        assert!(matches!(fault(kernel), MountError::Refused { .. }));
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_is_mounted_elsewhere_or_in_its_place_is_told() {
    alone(async || {
        let (disk, other) = (Disk::new(), Disk::new());
        let mount = disk.mount();
        let target = disk.target.to_str().unwrap();
        run("mount", &[other.device.to_str().unwrap(), target]);
        let occupied = mount.mount(&job(Action::Mount)).await;
        assert!(matches!(fault(occupied), MountError::Occupied { .. }));
        let occupied = mount.check(&job(Action::Check)).await;
        assert!(matches!(fault(occupied), MountError::Occupied { .. }));
        // The mount point is the unit's: whatever is there is unmounted, and what is below it.
        fs::create_dir(disk.target.join("below")).unwrap();
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "none",
                disk.target.join("below").to_str().unwrap(),
            ],
        );
        run("mount", &["-t", "tmpfs", "none", target]);
        mount.unmount(&job(Action::Unmount)).await.unwrap();
        assert!(!disk.is_mounted());

        let elsewhere = other.target.to_str().unwrap();
        run("mount", &[disk.device.to_str().unwrap(), elsewhere]);
        let told = mount.mount(&job(Action::Mount)).await;
        assert!(matches!(fault(told), MountError::Elsewhere { .. }));
        // Not mounted here, but the device is not free.
        let held = mount.unmount(&job(Action::Unmount)).await;
        assert!(matches!(fault(held), MountError::Held { .. }));
        run("umount", &[elsewhere]);
        mount.unmount(&job(Action::Unmount)).await.unwrap();
        // Read-only is not what was wanted.
        run(
            "mount",
            &["-o", "ro", disk.device.to_str().unwrap(), target],
        );
        let occupied = mount.mount(&job(Action::Mount)).await;
        assert!(matches!(fault(occupied), MountError::Occupied { .. }));
        mount.unmount(&job(Action::Unmount)).await.unwrap();
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn its_users_are_ended_gently_and_then_by_force() {
    alone(async || {
        let disk = Disk::new();
        let mount = disk.mount();
        mount.mount(&job(Action::Mount)).await.unwrap();
        let mut gentle = disk.user("");
        let mut deaf = disk.user("trap '' TERM;");
        let mut inside = Disk::sleeper(&disk.target);
        let mut stranger = Disk::sleeper(Path::new("/"));
        let MountError::Busy { users, .. } = fault(mount.unmount(&job(Action::Unmount)).await)
        else {
            panic!("it is used");
        };
        for child in [&gentle, &deaf, &inside] {
            assert!(users.contains(&child.pid()), "{users:?}");
        }
        assert!(!users.contains(&stranger.pid()));

        mount
            .kill_and_unmount(&job(Action::KillAndUnmount))
            .await
            .unwrap();
        assert!(!disk.is_mounted());
        assert_eq!(gentle.ended_by(), Some(15));
        assert_eq!(inside.ended_by(), Some(15));
        assert_eq!(deaf.ended_by(), Some(9));
        assert!(stranger.lives(), "nobody else is touched");
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn users_of_what_is_seen_elsewhere_are_left_alone() {
    alone(async || {
        let disk = Disk::new();
        let mount = disk.mount();
        mount.mount(&job(Action::Mount)).await.unwrap();
        let other = disk.folder.path().join("other");
        fs::create_dir(&other).unwrap();
        run(
            "mount",
            &[
                "--bind",
                disk.target.to_str().unwrap(),
                other.to_str().unwrap(),
            ],
        );
        let mut user = disk.user("");
        let refused = mount.kill_and_unmount(&job(Action::KillAndUnmount)).await;
        assert!(matches!(fault(refused), MountError::Elsewhere { .. }));
        assert!(user.lives());
        run("umount", &[other.to_str().unwrap()]);
        mount
            .kill_and_unmount(&job(Action::KillAndUnmount))
            .await
            .unwrap();
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn what_this_process_uses_is_detached_only_if_that_was_chosen() {
    alone(async || {
        let disk = Disk::new();
        let mount = disk.mount();
        mount.mount(&job(Action::Mount)).await.unwrap();
        let mut own = File::create(disk.target.join("own")).unwrap();
        let busy = mount.kill_and_unmount(&job(Action::KillAndUnmount)).await;
        let MountError::Busy { users, .. } = fault(busy) else {
            panic!("it is used");
        };
        assert_eq!(&*users, [i32::try_from(std::process::id()).unwrap()]);
        let busy = mount.force_unmount(&job(Action::ForceUnmount)).await;
        assert!(matches!(fault(busy), MountError::Busy { .. }));
        assert!(disk.is_mounted());
        let lazy = disk.mount().lazy(Lazy::Detach);
        lazy.force_unmount(&job(Action::ForceUnmount))
            .await
            .unwrap();
        assert!(!disk.is_mounted());
        // It is out of sight, but not out of use.
        own.write_all(b"still").unwrap();
        let held = mount.unmount(&job(Action::Unmount)).await;
        assert!(matches!(fault(held), MountError::Held { .. }));
        drop(own);
        mount.unmount(&job(Action::Unmount)).await.unwrap();
    });
}

#[test]
#[ignore = "needs root and loop devices"]
fn a_cancelled_search_for_users_ends() {
    alone(async || {
        let disk = Disk::new();
        let mount = disk.mount().patience(100 * SECOND);
        mount.mount(&job(Action::Mount)).await.unwrap();
        let own = File::create(disk.target.join("own")).unwrap();
        let (job, cancel) = Job::new(
            Action::KillAndUnmount,
            "files",
            Instant::now() + SECOND,
            None,
        );
        let began = Instant::now();
        let (result, ()) = tokio::join!(mount.kill_and_unmount(&job), async {
            tokio::time::sleep(SECOND / 2).await;
            cancel.cancel();
        });
        assert!(result.is_err() && began.elapsed() < 2 * SECOND);
        drop(own);
    });
}

#[test]
fn a_mount_point_is_a_folder_below_the_root() {
    for target in ["/", "relative", "/a/../b", ""] {
        let refused = Mount::new("/dev/null", target, "ext4");
        assert!(
            matches!(refused, Err(MountError::Target { .. })),
            "{target}"
        );
    }
    let refused = Mount::new("-a", "/srv", "ext4");
    assert!(matches!(refused, Err(MountError::Device { .. })));
    assert!(Mount::new("/dev/null", Path::new("/srv"), "ext4").is_ok());
}

#[tokio::test]
async fn a_device_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["/dev/null", "/no/such"] {
        let mount = Mount::new(device, folder.path().join("target"), "ext4").unwrap();
        let refused = mount.mount(&job(Action::Mount)).await;
        assert!(
            matches!(fault(refused), MountError::Device { .. }),
            "{device}"
        );
        // What is not mounted is unmounted, even if there is no such device any more.
        mount.unmount(&job(Action::Unmount)).await.unwrap();
    }
}
