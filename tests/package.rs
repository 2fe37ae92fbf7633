//! The packages: built, checked, installed over a copy of this system, started the way the unit
//! says, and removed; by dpkg and by rpm.
//!
//! Needs root, dpkg, rpm and overlayfs; without them the test that wants one says so and passes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use common::namespace::with_veth;
use common::probe::Probe;
use common::{folder, page, records, total, traffic};
use nix::sys::signal::Signal;

const PLAN: Plan = Plan {
    conversations: 20,
    unique: false,
    size: Size::Imix,
    profile: Profile::Uniform,
    ipv6_percent: 25,
    seed: 3,
};

/// What an administrator would write.
const SETTINGS: &str =
    "interface = [\"vb\"]\noutput = [\"json:/var/lib/kprobe/flows.json\"]\nstatus-port = 9000\n";

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

/// Builds packages of programs that were built already, `--deb` or `--rpm`.
fn packages(names: &str, format: &str, out: &Path) -> Vec<PathBuf> {
    let programs = Path::new(env!("CARGO_BIN_EXE_kprobe")).parent().unwrap();
    let mut command = Command::new("scripts/package");
    command.args(["--only", names, format, "--programs"]).arg(programs);
    command.env("KPROBE_DEB_COMPRESSION", "gzip");
    let output = command.arg("--out").arg(out).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    succeeded(&output.unwrap()).lines().map(PathBuf::from).collect()
}

/// The other programs, which tests of this crate alone would not build.
fn build_the_others() {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["build", "--quiet", "--locked", "-p", "khub", "-p", "kproxy"]);
    succeeded(&command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap());
}

fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A shell in a mount namespace of its own, in a copy of this system: what it writes is gone with
/// it. Its `$0` is an empty folder, `$1` the script that runs there, `$2` and so on files that lie at
/// the top of the copy. Ends with 77 where there can be no copy.
const COPY: &str = r#"
set -e
place=$0 script=$1
shift
mount -t tmpfs tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root" ||
    { echo 'no overlay' >&2; exit 77; }
for kernel in proc dev sys; do mount --rbind "/$kernel" "$place/root/$kernel"; done
cp "$@" "$place/root"
printf '%s' "$script" >"$place/root/script.sh"
exec chroot "$place/root" bash /script.sh
"#;

/// A command that runs a script in a copy of this system below `folder`.
fn in_a_copy(folder: &Path, script: &str, files: &[PathBuf]) -> Command {
    let place = folder.join("system");
    std::fs::create_dir(&place).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", COPY]).arg(&place).arg(script).args(files);
    command
}

const INSTALLED: &str = r#"
set -e
dpkg --force-depends -i /kprobe_*.deb >/dev/null 2>/dpkg.log || { cat /dpkg.log >&2; exit 1; }
printf '%s' "$SETTINGS" >/etc/kprobe/kprobe.toml
unit=/usr/lib/systemd/system/kprobe.service
if command -v systemd-analyze >/dev/null; then
    SYSTEMD_LOG_LEVEL=err systemd-analyze verify --man=no "$unit" kprobe@eth0.service >&2 || exit 1
fi
kprobe --config /etc/kprobe/kprobe.toml --print-config | grep -q '^interface = \["vb"\]  # file' || exit 2
bash -n /usr/share/bash-completion/completions/kprobe || exit 3
zcat /usr/share/man/man8/kprobe.8.gz | grep -q 'kprobe' || exit 4
[ "$(stat -c '%a %U' /etc/kprobe/environment)" = '600 root' ] || exit 5
# The unit: its user, state folder, capabilities and command.
user=$(sed -n 's/^User=//p' "$unit")
state=/var/lib/$(sed -n 's/^StateDirectory=//p' "$unit")
capabilities=$(sed -n 's/^AmbientCapabilities=//p' "$unit" | sed 's/CAP_/+/g; s/ /,/g' | tr A-Z a-z)
command=$(sed -n 's/^ExecStart=//p' "$unit" | sed 's/ \$KPROBE_OPTIONS$//')
install -d -o "$user" -m 750 "$state"
cd "$state"
# What kills this shell asks the probe to end.
setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \
    --inh-caps "$capabilities" --ambient-caps "$capabilities" $command &
trap "kill $!" TERM
wait $! || wait $!
cat "$state/flows.json"
dpkg -r kprobe >/dev/null 2>&1
[ ! -e /usr/bin/kprobe ]
"#;

#[test]
fn the_debian_package_is_installed_started_and_removed() {
    if !(has("dpkg-deb") && has("dpkg-shlibdeps") && has("setpriv")) {
        return;
    }
    with_veth(|| {
        let folder = folder();
        let [deb]: [PathBuf; 1] = packages("kprobe", "--deb", folder.path()).try_into().unwrap();
        lintian_finds_no_error(&deb);
        let mut command = in_a_copy(folder.path(), INSTALLED, &[deb]);
        command.env("SETTINGS", SETTINGS).env_remove("RUST_LOG");
        let mut probe = Probe::spawn(command);
        while !probe.log().contains("capturing on vb") {
            std::thread::sleep(std::time::Duration::from_millis(20));
            if !probe.is_running() {
                let ended = probe.wait();
                if ended.code == 77 {
                    eprintln!("skipped: no overlayfs here");
                    return;
                }
                panic!("{}: {}", ended.code, ended.log);
            }
        }
        probe.wait_for("status at");
        traffic::send("va", &traffic::frames(&PLAN, 1000).0, 10_000);
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let status = page(9000, "/v1/status");
        assert_eq!(status["readers"][0]["received"], 1000, "{status}");
        let ended = probe.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 0, "{}", ended.log);
        let counted = total(&common::sums(&records(&ended.stdout)));
        assert_eq!(counted.packets, 1000);
        assert!(!ended.log.contains("WARN"), "{}", ended.log);
    });
}

/// Warnings are opinions, as that secrets want no file of mode 600.
fn lintian_finds_no_error(deb: &Path) {
    if has("lintian") {
        let output =
            Command::new("lintian").args(["--fail-on", "error"]).arg(deb).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Flags as a program's help names them: those behind the first dashes of a line. What kproxy takes
/// without having a function for it, and what khub says of agents, is left out.
fn flags(program: &str, help: &str) -> Vec<String> {
    let dashes = if program == "kproxy" { "-" } else { "--" };
    let help = help.split("\nAccepted, ").next().and_then(|help| help.split("\nAgents ").next());
    let help = help.unwrap();
    let words = help.lines().flat_map(|line| {
        let line = line.trim_start();
        let list = if line.starts_with('-') { line } else { "" };
        list.split([' ', ',']).take_while(|word| word.is_empty() || word.starts_with('-'))
    });
    let long = words.filter(|word| word.starts_with(dashes) && word.len() > dashes.len() + 1);
    long.map(|word| word.trim_start_matches('-').trim_end_matches("...").to_owned()).collect()
}

#[test]
fn every_program_comes_with_a_man_page_and_completions_of_its_flags() {
    if !(has("dpkg-deb") && has("dpkg-shlibdeps")) {
        return;
    }
    build_the_others();
    let folder = folder();
    let debs = packages("kprobe kproxy khub", "--deb", folder.path());
    for (program, deb) in ["kprobe", "kproxy", "khub"].into_iter().zip(&debs) {
        lintian_finds_no_error(deb);
        let root = folder.path().join(program);
        succeeded(&Command::new("dpkg-deb").arg("-x").arg(deb).arg(&root).output().unwrap());
        let help = Command::new(root.join("usr/bin").join(program)).arg("--help").output();
        let flags = flags(program, &succeeded(&help.unwrap()));
        assert!(flags.len() > 5, "{program}: {flags:?}");
        let share = root.join("usr/share");
        let page = share.join(format!("man/man8/{program}.8.gz"));
        let man = succeeded(&Command::new("zcat").arg(page).output().unwrap());
        let man = man.replace("\\-", "-");
        let read = |path: String| std::fs::read_to_string(share.join(path)).unwrap();
        let bash = read(format!("bash-completion/completions/{program}"));
        let zsh = read(format!("zsh/vendor-completions/_{program}"));
        let fish = read(format!("fish/vendor_completions.d/{program}.fish"));
        for flag in &flags {
            for (what, text) in [("man page", &man), ("bash", &bash), ("zsh", &zsh)] {
                assert!(text.contains(&format!("-{flag}")), "{program}, {what}: {flag}");
            }
            let named = [format!(" -l {flag}"), format!(" -o {flag}")];
            assert!(named.iter().any(|name| fish.contains(name)), "{program}, fish: {flag}");
        }
        let script = share.join(format!("bash-completion/completions/{program}"));
        succeeded(&Command::new("bash").arg("-n").arg(script).output().unwrap());
    }
}

/// Installs the RPMs, looks at what came, and removes them. Debian has libraries of other names.
const INSTALLED_RPMS: &str = r#"
set -e
rpm() { command rpm --dbpath /var/tmp/rpmdb "$@"; }
mkdir -p /var/tmp/rpmdb
rpm -i --nodeps --force-debian /k*.rpm 2>/rpm.log || { cat /rpm.log >&2; exit 1; }
for name in kprobe kproxy khub; do
    rpm -q "$name" >&2
    rpm -V --nodeps "$name" >&2 || exit 2
    "$name" --help >/dev/null || exit 3
    [ "$(stat -c '%a %U' "/etc/$name/environment")" = '600 root' ] || exit 4
    [ -f "/usr/share/zsh/site-functions/_$name" ] || exit 5
    zcat "/usr/share/man/man8/$name.8.gz" >/dev/null || exit 6
    if command -v systemd-analyze >/dev/null; then
        SYSTEMD_LOG_LEVEL=err systemd-analyze verify --man=no "$name.service" >&2 || exit 7
    fi
done
# The scriptlet of the installation.
if command -v systemd-sysusers >/dev/null; then getent passwd kprobe >/dev/null || exit 8; fi
echo '# kept' >>/etc/kprobe/kprobe.toml
rpm -e kprobe kproxy khub >&2
[ ! -e /usr/bin/kprobe ] && [ ! -e /usr/bin/khub ] || exit 9
# Settings that somebody has changed stay.
grep -q '# kept' /etc/kprobe/kprobe.toml.rpmsave || exit 10
"#;

#[test]
fn the_rpms_are_sound_installed_and_removed() {
    if !(has("rpm") && has("rpmbuild")) {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to install packages");
        return;
    }
    build_the_others();
    let folder = folder();
    let rpms = packages("kprobe kproxy khub", "--rpm", folder.path());
    let ask = |question: &[&str], rpm: &Path| {
        succeeded(&Command::new("rpm").args(question).arg(rpm).output().unwrap())
    };
    for (name, rpm) in ["kprobe", "kproxy", "khub"].into_iter().zip(&rpms) {
        let sound = ask(&["-K", "--nosignature"], rpm);
        assert!(sound.contains("digests OK"), "{sound}");
        let files = ask(&["-qlp"], rpm);
        for file in [
            format!("/usr/bin/{name}"),
            format!("/usr/lib/systemd/system/{name}.service"),
            format!("/usr/share/man/man8/{name}.8.gz"),
            format!("/usr/share/bash-completion/completions/{name}"),
            format!("/usr/share/fish/vendor_completions.d/{name}.fish"),
        ] {
            assert!(files.lines().any(|line| line == file), "{file}: {files}");
        }
        let settings = ask(&["-qp", "--configfiles"], rpm);
        assert!(settings.contains(&format!("/etc/{name}/environment")), "{settings}");
        let scripts = ask(&["-qp", "--scripts"], rpm);
        assert!(scripts.contains("daemon-reload") && scripts.contains("systemctl stop"));
    }
    let output = in_a_copy(folder.path(), INSTALLED_RPMS, &rpms).output().unwrap();
    if output.status.code() == Some(77) {
        eprintln!("skipped: no overlayfs here");
        return;
    }
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status.code());
}
