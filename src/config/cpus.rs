//! A list of CPUs as people write it: `0,2-5`.

/// Largest CPU number that is accepted; Linux knows no more than 8,192 (`CONFIG_NR_CPUS`).
const MAX_CPU: usize = 8191;

/// Reads a list of numbers and ranges, in the order given.
///
/// # Errors
/// In words, what was expected.
pub fn parse(text: &str) -> Result<Vec<usize>, &'static str> {
    const EXPECTED: &str = "expected CPU numbers and ranges like 0,2-5";
    let number =
        |text: &str| text.parse().ok().filter(|&cpu: &usize| cpu <= MAX_CPU).ok_or(EXPECTED);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(EXPECTED);
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read_in_their_order() {
        assert_eq!(parse("3,0-2"), Ok(vec![3, 0, 1, 2]));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "a", "1-", "5-2", "1,,2", "-1", "99999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
