//! The Debian package: built, checked, installed by dpkg over a copy of this system, started the way
//! the unit says, and removed.
//!
//! Needs root, dpkg and overlayfs; without them the test says so and passes.
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

/// Builds the package of the program under test.
fn package(out: &Path) -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_kprobe")).parent().unwrap();
    let mut command = Command::new("scripts/package");
    command.args(["--only", "kprobe", "--deb", "--programs"]).arg(programs);
    command.env("KPROBE_DEB_COMPRESSION", "gzip");
    let output = command.arg("--out").arg(out).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    PathBuf::from(succeeded(&output.unwrap()).trim())
}

fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A shell in a mount namespace of its own, in whose copy of this system `$1` is installed: what it
/// writes is gone with it. The script's `$0` is the folder.
const INSTALLED: &str = r#"
set -e
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root" ||
    { echo 'no overlay' >&2; exit 77; }
for kernel in proc dev sys; do mount --rbind "/$kernel" "$0/root/$kernel"; done
cp "$1" "$0/root/kprobe.deb"
cat >"$0/root/installed.sh" <<'EOF'
set -e
dpkg --force-depends -i /kprobe.deb >/dev/null 2>/dpkg.log || { cat /dpkg.log >&2; exit 1; }
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
EOF
exec chroot "$0/root" bash /installed.sh
"#;

#[test]
fn the_debian_package_is_installed_started_and_removed() {
    if !(has("dpkg-deb") && has("dpkg-shlibdeps") && has("setpriv")) {
        return;
    }
    with_veth(|| {
        let folder = folder();
        let deb = package(folder.path());
        lintian_finds_no_error(&deb);
        let place = folder.path().join("system");
        std::fs::create_dir(&place).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", INSTALLED]).arg(&place).arg(&deb);
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
