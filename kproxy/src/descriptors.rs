//! File descriptors: two for each connection, and some for the rest.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For listeners, the health page, refusals, and look-ups of names.
const OTHERS: u64 = 256;

/// Raises the soft limit of this process as far as `connections` need it and the hard limit lets
/// it; returns how many connections fit, and the hard limit.
///
/// # Errors
/// When not even one fits, or the limits cannot be read; the text says what to do.
pub fn make_room(connections: usize) -> Result<(usize, u64), String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| format!("cannot read the limit of open files: {error}"))?;
    let needed = OTHERS + 2 * connections as u64;
    let mut limit = soft;
    if soft < needed {
        let wanted = needed.min(hard);
        // Without it the lower limit is what there is.
        if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            limit = wanted;
        }
    }
    match fitting(limit, connections) {
        0 => Err(format!(
            "the limit of open files is {limit}, and {} are needed for one connection: raise it \
             (ulimit -n, LimitNOFILE=)",
            OTHERS + 2
        )),
        fits => Ok((fits, limit)),
    }
}

/// How many of the connections fit below a limit.
fn fitting(limit: u64, connections: usize) -> usize {
    connections.min((limit.saturating_sub(OTHERS) / 2) as usize)
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn each_connection_takes_two_descriptors() {
        assert_eq!(fitting(1024, 1024), 384);
        assert_eq!(fitting(2304, 1024), 1024);
        assert_eq!(fitting(1_000_000, 1024), 1024);
        assert_eq!(fitting(258, 1024), 1);
        assert_eq!(fitting(257, 1024), 0);
        assert_eq!(fitting(10, 1024), 0);
    }
}
