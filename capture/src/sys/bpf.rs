//! Loading eBPF programs with bpf(2).

use std::io;
use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd};

/// BPF_PROG_LOAD of `enum bpf_cmd` (include/uapi/linux/bpf.h).
const PROG_LOAD: libc::c_int = 5;
/// BPF_PROG_TYPE_SOCKET_FILTER of `enum bpf_prog_type`.
const SOCKET_FILTER: u32 = 1;
/// The verifier's log is cut to this; it ends with the reason.
const LOG_BYTES: usize = 256 << 10;

/// The head of `union bpf_attr` as BPF_PROG_LOAD reads it; the kernel takes fields beyond the
/// size it is given as zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// Loads a socket filter program of 8-byte instructions.
///
/// The error is the kernel's errno and, when the verifier refused the program, the end of its log.
pub(crate) fn load_socket_filter(instructions: &[u64]) -> Result<OwnedFd, (io::Error, String)> {
    match load(instructions, &mut []) {
        Ok(fd) => Ok(fd),
        // Not the program's fault: a log would be empty.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            Err((error, String::new()))
        }
        Err(_) => {
            let mut log = vec![0; LOG_BYTES];
            load(instructions, &mut log).map_err(|error| (error, log_text(&log)))
        }
    }
}

fn load(instructions: &[u64], log: &mut [u8]) -> io::Result<OwnedFd> {
    const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";
    let number = |n: usize| u32::try_from(n).map_err(|_| io::ErrorKind::InvalidInput);
    let attributes = ProgLoad {
        prog_type: SOCKET_FILTER,
        insn_cnt: number(instructions.len())?,
        insns: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: number(log.len())?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: pointer and size describe `attributes`; the addresses in it describe `instructions`
    // (read), a static string (read) and `log` (written up to `log_size`), all of which outlive
    // the call (bpf(2)).
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_LOAD,
            &raw const attributes,
            size_of::<ProgLoad>() as libc::c_uint,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: `fd` is a fresh descriptor (>= 0) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The last lines of the log, where the verifier says what it refused.
fn log_text(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default());
    let lines: Vec<_> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason_is_in_the_error() {
        // BPF_EXIT without a value in R0.
        let (error, log) = load_socket_filter(&[0x95u64.to_le()]).unwrap_err();
        if error.raw_os_error() == Some(libc::EPERM) {
            eprintln!("skipped: needs CAP_BPF");
            return;
        }
        assert!(log.contains("R0 !read_ok"), "{log}");
    }
}
