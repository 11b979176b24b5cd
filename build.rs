//! What the binary knows of its own making: target, commit and date, for `version` and for the clock.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment"
)]

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // boards/build hands it to the linker, of which cargo knows nothing.
    println!("cargo:rerun-if-changed=boards/no-unwinding.ld");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let target = std::env::var("TARGET").expect("cargo names the target");
    println!("cargo:rustc-env=HYPERNODE_TARGET={target}");
    // Only a release names its commit: a development build would be made again after every commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
            println!("cargo:rustc-env=HYPERNODE_COMMIT={commit}");
        }
        for reference in ["HEAD".to_owned()].into_iter().chain(git(&["symbolic-ref", "HEAD"])) {
            // cargo would run this each time for a file that is not there (a packed reference).
            let file = git(&["rev-parse", "--git-path", &reference]);
            if let Some(file) = file.filter(|file| Path::new(file).exists()) {
                println!("cargo:rerun-if-changed={file}");
            }
        }
    }
    // The date of the commit, not of the build: the same source gives the same binary. A commit from the future is left
    // out, or the node would not trust the clock of the machine that built it.
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let built = given.or_else(|| git(&["log", "-1", "--format=%ct"])).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let built = built.parse::<u64>().ok().filter(|built| *built <= now).unwrap_or(0);
    println!("cargo:rustc-env=HYPERNODE_BUILT={built}");
}

/// What git says, in a checkout and where there is a git.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
