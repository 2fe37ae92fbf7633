# shellcheck shell=bash
# What the scripts share: words for people, packages, the compiler. Sourced, never run.

# One line on standard error, then the end.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# One line of progress on standard error.
say() {
    printf '==> %s\n' "$*" >&2
}

# Runs a command as root: directly, or by sudo. The caller checks can_be_root first.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

# Prints those of the named Debian packages that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$name"
    done
}

# Installs what is missing of the named Debian packages; answers 1 when that is not possible.
install_packages() {
    local missing=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "not a Debian system; these packages, or their like, are taken to be there: $*"
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -eq 0 ] && return 0
    if ! can_be_root; then
        say "missing packages, and neither root nor sudo to install them: ${missing[*]}"
        return 1
    fi
    say "installing ${missing[*]}"
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The oldest compiler that the workspace states (rust-version in Cargo.toml).
rust_wanted() {
    sed -n 's/^rust-version *= *"\([0-9.]*\)"/\1/p' "$1/Cargo.toml"
}

rust_is_new_enough() {
    local have
    have=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ -n "$have" ] && printf '%s\n%s\n' "$1" "$have" | sort -C -V
}

# Makes sure of a Rust that can build the workspace at $1; rustup brings it where it is missing.
need_rust() {
    local wanted
    wanted=$(rust_wanted "$1")
    # A rustup of an earlier run, in a shell that has not read its profile since.
    export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    rust_is_new_enough "$wanted" && return 0
    if command -v rustup >/dev/null; then
        say "Rust is older than $wanted; rustup installs the stable one"
        rustup toolchain install stable --profile minimal -c rustfmt -c clippy &&
            export RUSTUP_TOOLCHAIN=stable
    else
        say "Rust $wanted or newer is needed; rustup installs it for this user (https://rustup.rs)"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y -q --no-modify-path --profile minimal -c rustfmt -c clippy
    fi
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    rust_is_new_enough "$wanted" || fail "no Rust $wanted or newer; install it from https://rustup.rs"
}

# Where cargo builds: outside the checkout, unless the caller has chosen.
use_target_dir() {
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kprobe-target}"
}
