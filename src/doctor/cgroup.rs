//! Where the control groups of this process keep their limits (cgroups(7), versions 1 and 2).

use super::facts::Facts;

/// Deeper trees than this do not occur.
const MAX_DEPTH: usize = 64;

/// Directories of one controller, from this process's group up to the root of the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Version 2, whose file names differ.
    pub unified: bool,
    /// Paths below `/`, innermost first.
    pub folders: Vec<String>,
}

/// Groups that hold the files of `controller` (`memory`, `cpu`), in version 2 where both have it.
pub fn groups(facts: &Facts, controller: &str) -> Option<Groups> {
    let mounts = facts.text("proc/thread-self/mountinfo").ok()?;
    let membership = facts.text("proc/thread-self/cgroup").ok()?;
    let unified = folders(&mounts, &membership, None);
    // A mixed system mounts version 2 without controllers.
    if let Some(folders) = unified.filter(|folders| holds(facts, folders, controller)) {
        return Some(Groups { unified: true, folders });
    }
    let folders = folders(&mounts, &membership, Some(controller))?;
    Some(Groups { unified: false, folders })
}

fn holds(facts: &Facts, folders: &[String], controller: &str) -> bool {
    let root =
        folders.last().and_then(|root| facts.text(&format!("{root}/cgroup.controllers")).ok());
    root.is_some_and(|names| names.split_whitespace().any(|name| name == controller))
}

fn folders(mounts: &str, membership: &str, controller: Option<&str>) -> Option<Vec<String>> {
    let path = membership.lines().find_map(|line| own_path(line, controller))?;
    let (root, mount) = mounts.lines().find_map(|line| mount_point(line, controller))?;
    let inside = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
    let steps: Vec<&str> = inside.split('/').filter(|step| !step.is_empty()).collect();
    // A group outside the namespace's root shows as "/..": its limits cannot be seen.
    let steps = if steps.contains(&"..") { &[] } else { steps.get(..MAX_DEPTH).unwrap_or(&steps) };
    let mount = mount.trim_start_matches('/');
    Some(
        (0..=steps.len())
            .rev()
            .map(|depth| {
                let below = steps.iter().take(depth).map(|step| format!("/{step}"));
                format!("{mount}{}", below.collect::<String>())
            })
            .collect(),
    )
}

/// The path in a line `id:controllers:path` of /proc/PID/cgroup.
fn own_path<'a>(line: &'a str, controller: Option<&str>) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let fits = match controller {
        None => controllers.is_empty(),
        Some(name) => controllers.split(',').any(|c| c == name),
    };
    fits.then_some(path)
}

/// Root within the hierarchy and mount point, from a line of /proc/PID/mountinfo.
fn mount_point<'a>(line: &'a str, controller: Option<&str>) -> Option<(&'a str, &'a str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1).unwrap_or(""));
    let fits = match controller {
        None => name == "cgroup2",
        Some(wanted) => name == "cgroup" && options.split(',').any(|option| option == wanted),
    };
    fits.then_some((root, mount))
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    const V2: &str = "28 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn the_unified_hierarchy_is_walked_from_the_unit_to_the_root() {
        let host = host(&[
            ("proc/thread-self/mountinfo", V2),
            ("proc/thread-self/cgroup", "0::/system.slice/kprobe.service\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids"),
        ]);
        let groups = groups(&host.facts, "memory").unwrap();
        assert!(groups.unified);
        assert_eq!(
            groups.folders,
            [
                "sys/fs/cgroup/system.slice/kprobe.service",
                "sys/fs/cgroup/system.slice",
                "sys/fs/cgroup"
            ]
        );
    }

    #[test]
    fn on_a_mixed_system_the_old_hierarchy_has_the_limits() {
        let host = host(&[
            ("proc/thread-self/mountinfo", V1),
            ("proc/thread-self/cgroup", "4:memory:/box/1\n1:cpu:/\n0::/\n"),
            ("sys/fs/cgroup/unified/cgroup.controllers", ""),
        ]);
        let groups = groups(&host.facts, "memory").unwrap();
        assert!(!groups.unified);
        assert_eq!(groups.folders[0], "sys/fs/cgroup/memory/box/1");
        assert_eq!(groups.folders[2], "sys/fs/cgroup/memory");
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root_of_the_mount() {
        let line = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw";
        let folders = folders(line, "0::/docker/abc\n", None).unwrap();
        assert_eq!(folders, ["sys/fs/cgroup"]);
    }

    #[test]
    fn a_path_above_the_namespace_is_not_followed() {
        assert_eq!(folders(V2, "0::/../../etc\n", None).unwrap(), ["sys/fs/cgroup"]);
    }
}
