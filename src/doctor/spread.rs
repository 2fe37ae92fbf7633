//! Fanout skew, measured: how a group of readers would share the traffic of the last second.
//!
//! A group of our own with mode `hash` counts frames; nothing is taken from anybody else. A flow or
//! tunnel that stays whole can never be spread, and the evidence shows its weight.

use std::io;

use super::finding::{Finding, Grade};

const CHECK: &str = "fanout skew";
/// Members of the trial group at most.
pub const MAX_MEMBERS: usize = 8;
/// Fewer frames tell nothing.
const ENOUGH_FRAMES: u64 = 1000;

/// Judges the shares that the members of the trial group got.
pub fn check(counts: &io::Result<Vec<u64>>) -> Finding {
    let counts = match counts {
        Ok(counts) => counts,
        Err(error) => return Finding::unread(CHECK, "the spread over readers", error),
    };
    let total = counts.iter().fold(0u64, |sum, &count| sum.saturating_add(count));
    let members = counts.len() as u64;
    if members < 2 {
        return Finding::new(CHECK, Grade::Ok, "one CPU, one reader");
    }
    let percent = |count: u64| u64::try_from(u128::from(count) * 100 / u128::from(total.max(1)));
    let shares: Vec<u64> = counts.iter().map(|&count| percent(count).unwrap_or(100)).collect();
    let texts: Vec<String> = shares.iter().map(|share| format!("{share} %")).collect();
    let evidence =
        format!("{total} frames in a second over {members} readers by hash: {}", texts.join(", "));
    if total < ENOUGH_FRAMES {
        let evidence = format!("{evidence}; too few to judge");
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let fair = 100 / members;
    let most = shares.iter().copied().max().unwrap_or(0);
    // With two readers a single flow of half the traffic gives 75 %.
    if most > fair + (100 - fair) / 2 {
        let evidence = format!(
            "{evidence}. One flow or one tunnel outweighs the rest: more readers do not help; see \
             inside tunnels with eBPF steering, or sample"
        );
        return Finding::new(CHECK, Grade::Warn, evidence).advise("kprobe --fanout-mode ebpf ...");
    }
    let grade = if most > 2 * fair { Grade::Note } else { Grade::Ok };
    Finding::new(CHECK, grade, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(counts: &[u64]) -> Grade {
        check(&Ok(counts.to_vec())).grade
    }

    #[test]
    fn even_shares_are_fine() {
        assert_eq!(grade(&[5100, 4900]), Grade::Ok);
        assert_eq!(grade(&[2500, 2600, 2400, 2500]), Grade::Ok);
    }

    #[test]
    fn an_elephant_is_worth_a_warning() {
        assert_eq!(grade(&[9000, 1000]), Grade::Warn);
        assert_eq!(grade(&[600, 6000, 600, 600]), Grade::Warn);
        assert_eq!(grade(&[6000, 1500, 1500, 1500]), Grade::Note);
    }

    #[test]
    fn a_quiet_link_tells_nothing() {
        let finding = check(&Ok(vec![9, 0]));
        assert_eq!(finding.grade, Grade::Ok);
        assert!(finding.evidence.ends_with("too few to judge"));
        assert_eq!(check(&Err(io::Error::from_raw_os_error(1))).grade, Grade::Unknown);
    }
}
