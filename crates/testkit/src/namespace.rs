//! Namespaces of the kernel, for tests of what stands in others than its own.

use std::process::Command;
use std::time::Duration;

use crate::{Running, skip, wait_until};

/// A program that sleeps in a network of its own, which nsenter(1) can enter; `None`, and a skip, if none can be made.
pub fn sleeper_in_its_own_network() -> Option<Running> {
    let made = Command::new("unshare").args(["-n", "true"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip("unshare -n is not allowed here");
        return None;
    }
    let inside = Running::start("unshare", &["-n", "sleep", "1000"]);
    let pid = inside.pid();
    let is_asleep = || std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep");
    // It becomes the sleeper once it is there.
    wait_until("it sleeps in its network", Duration::from_secs(60), is_asleep);
    Some(inside)
}
