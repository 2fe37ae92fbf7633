//! Secrets that were given where others can read them: command line and environment.
//!
//! Both stay readable in `/proc/PID/cmdline` and `/proc/PID/environ` for the life of the process,
//! from the very memory in which the kernel put them. Once read, they are overwritten there. The
//! place is told by `/proc/self/stat` (proc_pid_stat(5), fields 48 to 51), and written through
//! `/proc/self/mem`, so this needs no unsafe code.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use crate::cli::{FLAGS, Secret};

/// More than this the kernel does not accept for both together by default (6 MiB of stack).
const MAX_BYTES: u64 = 8 << 20;

/// Overwrites secrets on the command line and in the environment, which must have been read.
///
/// # Errors
/// `/proc` is not there or not readable.
pub fn hide() -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let memory = own_memory()?;
    let (arguments, environment) = places(&stat).ok_or(io::ErrorKind::InvalidData)?;
    overwrite(&memory, arguments, secret_arguments)?;
    overwrite(&memory, environment, secret_variables)
}

/// Nobody gets this process's memory as a core file, nor by a debugger of the same user. To be
/// called after [`hide`]: `/proc/self/mem` is closed, too.
pub fn guard_memory() {
    // Both can only fail for want of kernel support; the probe works all the same.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

/// The memory of a program with capabilities on its file belongs to root (`prctl(2)`,
/// PR_SET_DUMPABLE), so its own user cannot open it, though everybody sees its command line. For that
/// moment it is made a process like others; a debugger would need the capabilities all the same.
fn own_memory() -> io::Result<File> {
    let open = || File::options().read(true).write(true).open("/proc/self/mem");
    match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            prctl::set_dumpable(true)?;
            let memory = open();
            prctl::set_dumpable(false)?;
            memory
        }
        other => other,
    }
}

/// Where arguments and environment lie.
fn places(stat: &str) -> Option<(Range<u64>, Range<u64>)> {
    // The name in field 2 may hold anything, also blanks; what follows it does not.
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |number: usize| rest.split(' ').nth(number - 3)?.trim().parse::<u64>().ok();
    let (arguments, environment) = (field(48)?..field(49)?, field(50)?..field(51)?);
    let fits = |range: &Range<u64>| {
        range.start != 0 && range.end.checked_sub(range.start).is_some_and(|n| n <= MAX_BYTES)
    };
    (fits(&arguments) && fits(&environment)).then_some((arguments, environment))
}

/// Writes stars over the parts of a region that `secret` names.
fn overwrite(
    memory: &File,
    region: Range<u64>,
    secret: impl Fn(&[u8]) -> Vec<Range<usize>>,
) -> io::Result<()> {
    let mut bytes = vec![0; (region.end - region.start) as usize];
    memory.read_exact_at(&mut bytes, region.start)?;
    for part in secret(&bytes) {
        memory.write_all_at(&vec![b'*'; part.len()], region.start + part.start as u64)?;
    }
    Ok(())
}

/// Values of secret flags, behind the flag or its equals sign.
fn secret_arguments(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut is_value = false;
    for word in words(bytes) {
        let text = bytes.get(word.clone()).unwrap_or_default();
        if std::mem::take(&mut is_value) {
            parts.push(word);
            continue;
        }
        let Some(name) = text.strip_prefix(b"--") else { continue };
        let equals = name.iter().position(|byte| *byte == b'=');
        if is_secret_flag(name.get(..equals.unwrap_or(name.len())).unwrap_or_default()) {
            match equals {
                Some(at) => parts.push(word.start + 2 + at + 1..word.end),
                None => is_value = true,
            }
        }
    }
    parts
}

/// Values of the variables that flags fall back on.
fn secret_variables(bytes: &[u8]) -> Vec<Range<usize>> {
    let known = |name: &[u8]| {
        FLAGS.iter().flat_map(|flag| flag.variables).any(|variable| variable.as_bytes() == name)
    };
    let value = |word: Range<usize>| {
        let text = bytes.get(word.clone())?;
        let at = text.iter().position(|byte| *byte == b'=')?;
        known(text.get(..at)?).then(|| word.start + at + 1..word.end)
    };
    words(bytes).filter_map(value).collect()
}

fn is_secret_flag(name: &[u8]) -> bool {
    let is_it = |long: &str| long.as_bytes() == name;
    FLAGS.iter().any(|flag| {
        flag.secret != Secret::No && (is_it(flag.long) || flag.aliases.iter().any(|a| is_it(a)))
    })
}

/// Texts that end with a zero byte.
fn words(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    bytes.split(|byte| *byte == 0).map(move |word| {
        let range = start..start + word.len();
        start += word.len() + 1;
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starred(bytes: &[u8], secret: impl Fn(&[u8]) -> Vec<Range<usize>>) -> String {
        let mut shown = bytes.to_vec();
        for part in secret(bytes) {
            shown[part].fill(b'*');
        }
        String::from_utf8(shown).unwrap().replace('\0', " ")
    }

    #[test]
    fn secret_arguments_are_found_in_both_notations() {
        let line = b"kprobe\0-i\0eth0\0--token\0abc\0--email=a@b\0--proxy-url\0http://u:p@h\0-v\0";
        assert_eq!(
            starred(line, secret_arguments),
            "kprobe -i eth0 --token *** --email=*** --proxy-url ************ -v "
        );
    }

    #[test]
    fn other_arguments_stay() {
        let line = b"kprobe\0--token-file\0/etc/token\0--device-name\0token\0--token";
        assert_eq!(
            starred(line, secret_arguments),
            "kprobe --token-file /etc/token --device-name token --token"
        );
    }

    #[test]
    fn variables_with_credentials_are_found() {
        let line = b"PATH=/bin\0KENTIK_TOKEN=abc\0KENTIK_API_EMAIL=a\0XKENTIK_TOKEN=b\0";
        assert_eq!(
            starred(line, secret_variables),
            "PATH=/bin KENTIK_TOKEN=*** KENTIK_API_EMAIL=* XKENTIK_TOKEN=b "
        );
    }

    #[test]
    fn a_program_name_with_blanks_and_brackets_moves_no_field() {
        let mut stat = "1 (a) b (c) S".to_owned();
        for number in 4..=52 {
            stat.push_str(&format!(" {}", number * 100));
        }
        assert_eq!(places(&stat), Some((4800..4900, 5000..5100)));
        assert_eq!(places("1 (a) S 1 2"), None);
        assert_eq!(places(""), None);
    }

    proptest::proptest! {
        #[test]
        fn any_region_gives_parts_within_it(bytes: Vec<u8>, stat: String) {
            let parts = secret_arguments(&bytes).into_iter().chain(secret_variables(&bytes));
            for part in parts {
                proptest::prop_assert!(part.start <= part.end && part.end <= bytes.len());
            }
            let _ = places(&stat);
        }
    }
}
