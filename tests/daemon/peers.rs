//! Who may trace.

use super::daemon::{Daemon, kstraced_path};
use super::support::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The command where everybody can run it.
fn public_kstrace(daemon: &Daemon) -> PathBuf {
    let path = daemon.dir().join("kstrace");
    std::fs::copy(kstrace_path(), &path).expect("copy");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

fn as_nobody(daemon: &Daemon, groups: &[&str], args: &[&str]) -> Output {
    Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534"])
        .args(groups)
        .arg(public_kstrace(daemon))
        .args(args)
        .env("KSTRACE_SOCKET", daemon.socket())
        .current_dir("/")
        .output()
        .expect("setpriv")
}

#[test]
fn a_stranger_is_told_what_would_help() {
    let daemon = Daemon::start();
    let output = as_nobody(&daemon, &["--clear-groups"], &["sessions"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("only root and members of the group 'tracing' may"),
        "{said}"
    );
    assert!(said.contains("usermod -aG tracing"), "{said}");
    // Recording goes on without the daemon and says so; what it may do is the kernel's word.
    let output = as_nobody(
        &daemon,
        &["--clear-groups"],
        &[
            "record",
            "-e",
            "page-faults:u",
            "-o",
            "/proc/none",
            "--",
            "true",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("not through kstraced, but in this process"),
        "{said}"
    );
    assert!(said.contains("group 'tracing'"), "{said}");
    assert!(daemon.client().list_sessions().expect("list").is_empty());
}

#[test]
fn a_member_of_the_group_is_served() {
    // A user database of the daemon's own, in a mount namespace of its own.
    let daemon = Daemon::start_by(|dir| {
        let groups = dir.join("group");
        std::fs::write(&groups, "root:x:0:\ntracing:x:54321:\n").expect("write");
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "sh",
                "-c",
                "mount --bind \"$1\" /etc/group && exec \"$2\"",
                "sh",
            ])
            .arg(groups)
            .arg(kstraced_path());
        command
    });
    let member = as_nobody(&daemon, &["--groups", "54321"], &["sessions"]);
    assert!(
        member.status.success(),
        "{}",
        String::from_utf8_lossy(&member.stderr)
    );
    let stranger = as_nobody(&daemon, &["--groups", "54322"], &["sessions"]);
    assert_eq!(stranger.status.code(), Some(1));
}
