//! The system calls that a running probe makes; all others are refused with EPERM.
//!
//! tests/syscalls.rs watches with strace that nothing of what a probe does is refused;
//! docs/privileges.md tells over what. Two programs: the
//! first turns clone3 away as unknown, whose flags lie in memory where no filter looks, so that the
//! C library takes clone; the second is the list, in which clone may only make threads.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Both programs, ready to install.
pub(super) struct Programs {
    no_clone3: BpfProgram,
    list: BpfProgram,
    /// How many system calls the list has.
    pub(super) calls: usize,
}

impl Programs {
    /// Compiles for the machine at hand.
    ///
    /// # Errors
    /// Nobody knows the machine's system calls.
    pub(super) fn new() -> Result<Self, BackendError> {
        let arch: TargetArch = std::env::consts::ARCH.try_into()?;
        let refuse = |errno: i32| SeccompAction::Errno(errno as u32);
        let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let no_clone3 =
            SeccompFilter::new(clone3, SeccompAction::Allow, refuse(libc::ENOSYS), arch)?;
        let rules = rules()?;
        let calls = rules.len();
        let list = SeccompFilter::new(rules, refuse(libc::EPERM), SeccompAction::Allow, arch)?;
        Ok(Self { no_clone3: no_clone3.try_into()?, list: list.try_into()?, calls })
    }

    /// Installs both in every thread of the process, those to come included.
    ///
    /// # Errors
    /// The kernel refused, or a thread has a filter of its own.
    pub(super) fn install_everywhere(&self) -> Result<(), Error> {
        seccompiler::apply_filter_all_threads(&self.no_clone3)?;
        seccompiler::apply_filter_all_threads(&self.list)
    }
}

/// Whatever their arguments.
const PLAIN: &[libc::c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, signals and the end. (clone3 is turned away by the first program.)
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // Time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // Files; which ones is Landlock's business.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_memfd_create,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Sockets that exist.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Questions about oneself and the machine.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// Older forms, which other machines never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

/// HTTP, name look-ups, journald and the name service cache, interfaces' addresses. No packet
/// sockets: those are open.
const FAMILIES: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];
/// FIONBIO, FIONREAD, FIOCLEX, TCGETS, TIOCGWINSZ; SIOCGIFNAME, SIOCGIFFLAGS, SIOCGIFHWADDR,
/// SIOCGIFINDEX (asm-generic/ioctls.h, linux/sockios.h). So that `top` leaves the terminal as it was:
/// TCSETS, and TCGETS2 and TCSETS2, which do the same.
const IOCTLS: [u64; 12] = [
    0x5421,
    0x541b,
    0x5451,
    0x5401,
    0x5413,
    0x8910,
    0x8913,
    0x8927,
    0x8933,
    0x5402,
    0x802c_542a,
    0x402c_542b,
];
/// Names of threads and of memory (linux/prctl.h).
const PR_SET_VMA: i32 = 0x5356_4d41;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let families: Vec<u64> = FAMILIES.map(|family| family as u64).to_vec();
    rules.insert(libc::SYS_socket, one_of(0, &families)?);
    rules.insert(libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX as u64])?);
    rules.insert(libc::SYS_ioctl, one_of(1, &IOCTLS)?);
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, PR_SET_VMA].map(|option| option as u64);
    rules.insert(libc::SYS_prctl, one_of(0, &names)?);
    // Only to itself: abort, and a signal's own effect.
    rules.insert(libc::SYS_tgkill, one_of(0, &[u64::from(std::process::id())])?);
    let thread = libc::CLONE_THREAD as u64;
    let is_thread =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_thread])?]);
    // Asking, not setting: the new limit is no pointer.
    let asks = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![asks])?]);
    Ok(rules)
}

/// The call passes when its argument is one of these; the kernel looks at 32 bits of them.
fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    values
        .iter()
        .map(|value| {
            let equals = SeccompCmpOp::Eq;
            let is = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equals, *value)?;
            SeccompRule::new(vec![is])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::ptrace;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    use super::*;

    /// In a thread of its own, which keeps the filter to its end.
    fn confined<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        let body = || {
            let programs = Programs::new().unwrap();
            seccompiler::apply_filter(&programs.no_clone3).unwrap();
            seccompiler::apply_filter(&programs.list).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(body).join()).unwrap()
    }

    #[test]
    fn what_a_probe_never_does_is_refused() {
        confined(|| {
            // Would end the test as failed if it were let through.
            let error = Command::new("/bin/false").exec();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
            let error = Command::new("/bin/false").spawn().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
            assert_eq!(ptrace::traceme(), Err(Errno::EPERM));
            assert_eq!(unshare(CloneFlags::CLONE_NEWNET), Err(Errno::EPERM));
            let packet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None);
            assert_eq!(packet.unwrap_err(), Errno::EPERM);
            assert_eq!(nix::sys::prctl::set_dumpable(true), Err(Errno::EPERM));
            assert_eq!(nix::sys::signal::kill(nix::unistd::Pid::this(), None), Err(Errno::EPERM));
        });
    }

    #[test]
    fn what_a_probe_does_still_works() {
        confined(|| {
            std::thread::spawn(|| 1).join().unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            use std::net::ToSocketAddrs;
            ("localhost", 80).to_socket_addrs().unwrap();
            capture::Interface::find("lo").unwrap();
            std::fs::read_to_string("/etc/passwd").unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        });
    }
}
