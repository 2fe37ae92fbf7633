//! Giving up what is not needed any more (design D13).
//!
//! Reading packets that anybody may send is the probe's business, so the process that does it is to
//! have nothing worth taking. In the order in which it happens, each step before the threads that it
//! has to cover:
//!
//! 1. At the start, with the first thread alone: no new privileges, an empty bounding set, and
//!    Landlock rules for the files that are used. Threads inherit all three.
//! 2. When the packet sockets are open: capabilities go, unless the probe is to become another user
//!    and needs them for that.
//! 3. When output files and the status server's socket are open, before any reader runs: the user
//!    and groups change (in all threads, by the C library), which takes every capability with it;
//!    then the system call filter, in all threads.
//!
//! Each step says at `-v` what it did. One that the kernel does not know is left out with a warning;
//! one that fails otherwise ends the start.

mod files;
mod filter;
mod user;

use anyhow::anyhow;
use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::unistd::geteuid;
use tracing::{debug, warn};

use std::path::PathBuf;

use crate::config::Config;
use crate::secrets;
use user::Become;

/// What is still to be given up. Every step consumes the one before.
#[derive(Debug)]
pub struct Privileges {
    user: Become,
    sandbox: bool,
    /// Must belong to the user that is become.
    spool: Option<PathBuf>,
}

impl Privileges {
    /// The first step, before there are threads.
    ///
    /// # Errors
    /// There is no user of the name, or the kernel refused what it knows.
    pub fn at_start(config: &Config) -> anyhow::Result<Self> {
        let user = user::choose(config.user.as_deref())?;
        prctl::set_no_new_privs().map_err(|error| anyhow!("Error: no new privileges: {error}"))?;
        debug!("no new privileges for this process");
        shrink_bounding_set();
        let spool = config.delivery.spool.as_ref().map(|spool| spool.folder.clone());
        if let Some(folder) = &spool {
            files::make_private(folder)?;
        }
        if config.sandbox {
            match files::restrict(config).map_err(|error| refused("Landlock", &error))? {
                Some(outcome) => debug!("Landlock: {outcome}"),
                None => warn!("this kernel has no Landlock: file access is not restricted"),
            }
        }
        Ok(Self { user, sandbox: config.sandbox, spool })
    }

    /// The second step: every packet socket is open, and this is the only thread.
    ///
    /// # Errors
    /// The kernel keeps a capability.
    pub fn sockets_are_open(self) -> anyhow::Result<AllOpen> {
        match &self.user {
            // Needs its capabilities to change; they go with it.
            Become::User(_) => {}
            // Files of other users may have to be written.
            Become::Root => keep(&[Capability::CAP_DAC_OVERRIDE])?,
            Become::Nobody => keep(&[])?,
        }
        Ok(AllOpen(self))
    }
}

/// The packet sockets are open, and capabilities are gone where they can be.
#[derive(Debug)]
pub struct AllOpen(Privileges);

impl AllOpen {
    /// The last step: all files and sockets are open. Covers the threads there are.
    ///
    /// # Errors
    /// The user could not be changed, or the filter not be installed.
    pub fn confine(self) -> anyhow::Result<()> {
        let Self(Privileges { user, sandbox, spool }) = self;
        if let Become::User(account) = &user {
            if let Some(folder) = &spool {
                files::give(folder, account)?;
            }
            user::change(account)?;
            keep(&[])?;
            // A change of user opens the memory to its debuggers again.
            secrets::guard_memory();
            debug!(
                "became user {} ({}), without groups and capabilities",
                account.name, account.uid
            );
        }
        if sandbox {
            let filter = filter::Programs::new().map_err(|error| refused("seccomp", &error))?;
            let calls = filter.calls;
            filter.install_everywhere().map_err(|error| refused("seccomp", &error))?;
            debug!("seccomp: {calls} system calls are allowed, others refused with EPERM");
        }
        Ok(())
    }
}

fn refused(what: &str, error: &dyn std::error::Error) -> anyhow::Error {
    anyhow!("Error: {what}: {error}; --no-sandbox does without")
}

/// Without CAP_SETPCAP it stays as it is, which means nothing after no-new-privileges.
fn shrink_bounding_set() {
    match caps::clear(None, CapSet::Bounding) {
        Ok(()) => debug!("the bounding set of capabilities is empty"),
        Err(_) if !geteuid().is_root() => {}
        Err(error) => debug!("the bounding set of capabilities stays: {error}"),
    }
}

/// Drops all capabilities but these.
fn keep(wanted: &[Capability]) -> anyhow::Result<()> {
    let failed = |error: caps::errors::CapsError| anyhow!("Error: dropping capabilities: {error}");
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: caps::CapsHashSet = wanted.iter().copied().filter(|cap| held.contains(cap)).collect();
    if caps::has_cap(None, CapSet::Ambient, Capability::CAP_NET_RAW).is_ok() {
        caps::clear(None, CapSet::Ambient).map_err(failed)?;
    }
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    // The effective set first: it must lie within the permitted one.
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    if !held.is_empty() {
        debug!("{} capabilities dropped, {} kept", held.len() - kept.len(), kept.len());
    }
    Ok(())
}
