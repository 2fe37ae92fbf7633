//! The token is where it has to be and nowhere else.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::backend::{Khub, urls};
use common::namespace::with_veth;
use common::probe::Probe;
use common::{copy_for_all_users, folder, kprobe, page, run};
use khub::{DEV_EMAIL, DEV_TOKEN};
use nix::sys::signal::Signal;

const TOKEN: &str = "s3cret-t0ken-of-the-account";
const EMAIL: &str = "somebody-there@example.net";

/// A backend that knows the token.
fn hub() -> Khub {
    Khub::with(khub::Config { dev: true, ..khub::Config::new(EMAIL, TOKEN) })
}

/// Command line and environment of a process, as others see them.
fn seen(pid: u32) -> String {
    let text = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    format!("{} {}", text("cmdline"), text("environ"))
}

#[test]
fn command_line_environment_log_and_status_of_a_running_probe_show_no_secret() {
    with_veth(|| {
        for (arguments, variables) in [
            (&["--token", TOKEN, "--email", EMAIL][..], &[][..]),
            (&["--token=s3cret-t0ken-of-the-account", "--email=somebody-there@example.net"], &[]),
            (&[], &[("KENTIK_TOKEN", TOKEN), ("KENTIK_EMAIL", EMAIL)]),
            (&[], &[("KENTIK_API_TOKEN", TOKEN), ("KENTIK_API_EMAIL", EMAIL)]),
        ] {
            let hub = hub();
            let mut command = kprobe();
            command
                .args(["-i", "vb", "-vvvv", "--status-port", "9000", "--buffer-size", "8"])
                .args(urls(&hub.address.to_string()))
                .args(arguments)
                .envs(variables.iter().copied());
            let mut probe = Probe::spawn(command);
            probe.wait_for("seccomp");
            probe.wait_for("status at");
            let seen = seen(probe.id());
            assert!(seen.contains("--status-port 9000"), "{seen}");
            let status = page(9000, "/v1/status").to_string();
            let ended = probe.stop(Signal::SIGTERM);
            assert_eq!(ended.code, 0, "{}", ended.log);
            for secret in [TOKEN, EMAIL] {
                assert!(!seen.contains(secret), "{seen}");
                assert!(!ended.log.contains(secret), "{}", ended.log);
                assert!(!status.contains(secret), "{status}");
            }
            // It was used all the same.
            assert_eq!(hub.counter("auth_failures"), 0);
            assert!(ended.log.contains("flow limit"), "{}", ended.log);
        }
    });
}

#[test]
fn memory_of_a_running_probe_is_closed_to_others_of_the_same_user_and_leaves_no_core() {
    with_veth(|| {
        let mut probe = Probe::start(["-i", "vb", "-v", "--buffer-size", "8"]);
        probe.wait_for("seccomp");
        let process = format!("/proc/{}", probe.id());
        let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // Files of a process that cannot be dumped belong to root, whoever it runs as.
        use std::os::unix::fs::MetadataExt;
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        assert!(!status.contains("Uid:\t0\t"), "{status}");
        assert_eq!(fs::metadata(format!("{process}/environ")).unwrap().uid(), 0);
        probe.stop(Signal::SIGTERM);
    });
}

#[test]
fn a_program_with_the_capability_on_its_file_hides_secrets_too() {
    with_veth(|| {
        let folder = folder();
        let copy = copy_for_all_users(folder.path());
        let set = Command::new("setcap").arg("cap_net_raw+ep").arg(&copy).status();
        if !set.is_ok_and(|status| status.success()) {
            eprintln!("skipped: setcap is not installed, or not for this file system");
            return;
        }
        let hub = hub();
        let mut command = Command::new(copy);
        command
            .args(["-i", "vb", "-v", "--buffer-size", "8", "--token", TOKEN, "--email", EMAIL])
            .args(urls(&hub.address.to_string()))
            .env_clear()
            .env("KENTIK_API_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .uid(65_534)
            .gid(65_534);
        let mut probe = Probe::spawn(command);
        probe.wait_for("seccomp");
        let seen = seen(probe.id());
        assert!(seen.contains("-i vb") && !seen.contains(TOKEN) && !seen.contains(EMAIL), "{seen}");
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        assert!(!ended.log.contains("stay readable"), "{}", ended.log);
    });
}

#[test]
fn help_and_printed_configuration_show_no_secret() {
    for flag in ["--help", "--print-config"] {
        let mut command = kprobe();
        command.args(["-i", "lo", flag]).env("KENTIK_TOKEN", TOKEN).env("KENTIK_EMAIL", EMAIL);
        let run = common::output(&mut command);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(!String::from_utf8_lossy(&run.stdout).contains(TOKEN));
    }
    let run = run(["-i", "lo", "--token", TOKEN, "--email", EMAIL, "--print-config"]);
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains("token = \"***\"  # flag") && !text.contains(TOKEN), "{text}");
}

#[test]
fn a_token_file_needs_to_be_private_and_works() {
    let folder = folder();
    let recording = common::recordings::all().into_iter().next().unwrap().write(folder.path());
    let path = folder.path().join("token");
    fs::write(&path, format!("{DEV_TOKEN}\n")).unwrap();
    let hub = Khub::start();
    let arguments = |path: &std::path::Path| {
        let mut arguments = vec!["--email".to_owned(), DEV_EMAIL.to_owned()];
        arguments.extend(["--token-file".to_owned(), path.display().to_string()]);
        arguments.extend(["--device-name".to_owned(), "probe".to_owned(), "--read".to_owned()]);
        arguments.push(recording.display().to_string());
        arguments.extend(urls(&hub.address.to_string()));
        arguments
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = run(arguments(&path));
    let expected = format!(
        "Error: {}: holds a secret and is open to others (mode 644); chmod 600 mends that\n",
        path.display()
    );
    assert_eq!((refused.code, refused.stderr), (Some(1), expected));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let accepted = run(arguments(&path));
    assert_eq!(accepted.code, Some(0), "{}", accepted.stderr);
    assert!(!hub.flows("probe").is_empty());
}
