//! Who the probe becomes when root has started it.

use anyhow::{anyhow, bail};
use caps::{CapSet, Capability};
use nix::unistd::{User, geteuid, setgroups, setresgid, setresuid};
use tracing::warn;

/// Users to become without `--user`, the first that exists.
const USUAL: [&str; 2] = ["kprobe", "nobody"];

/// What becomes of the user.
#[derive(Debug)]
pub(super) enum Become {
    /// Root becomes this one.
    User(User),
    /// Root stays root, without its capabilities.
    Root,
    /// An unprivileged user stays what it is.
    Nobody,
}

/// Decides from `--user` and who started the probe.
///
/// # Errors
/// The user does not exist, or cannot be become.
pub(super) fn choose(wanted: Option<&str>) -> anyhow::Result<Become> {
    if !geteuid().is_root() {
        return match wanted {
            None => Ok(Become::Nobody),
            Some(name) if find(name)?.uid == geteuid() => Ok(Become::Nobody),
            Some(name) => bail!("Error: --user {name}: only root can become another user"),
        };
    }
    // In a container root may have hardly any capability.
    let may = [Capability::CAP_SETUID, Capability::CAP_SETGID]
        .iter()
        .all(|cap| caps::has_cap(None, CapSet::Effective, *cap).unwrap_or(false));
    match wanted {
        Some(name) => match find(name)? {
            user if user.uid.is_root() => Ok(Become::Root),
            user if may => Ok(Become::User(user)),
            _ => bail!("Error: --user {name}: needs CAP_SETUID and CAP_SETGID"),
        },
        None if !may => {
            warn!("without CAP_SETUID and CAP_SETGID the probe stays root");
            Ok(Become::Root)
        }
        None => match USUAL.iter().find_map(|name| User::from_name(name).ok().flatten()) {
            Some(user) => Ok(Become::User(user)),
            None => {
                warn!("there is no user {}: the probe stays root", USUAL.join(" or "));
                Ok(Become::Root)
            }
        },
    }
}

/// Changes user and groups of every thread: the C library does it in each.
///
/// # Errors
/// The kernel refused.
pub(super) fn change(user: &User) -> anyhow::Result<()> {
    let failed =
        |error| anyhow!("Error: becoming user {}: {error}; --user root stays root", user.name);
    setgroups(&[]).map_err(failed)?;
    setresgid(user.gid, user.gid, user.gid).map_err(failed)?;
    setresuid(user.uid, user.uid, user.uid).map_err(failed)
}

fn find(name: &str) -> anyhow::Result<User> {
    let found = User::from_name(name).map_err(|error| anyhow!("Error: --user {name}: {error}"))?;
    found.ok_or_else(|| anyhow!("Error: --user {name}: there is no such user"))
}
