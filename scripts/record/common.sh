# shellcheck shell=bash
# Two hosts in network namespaces of their own, and a capture of what passes between them. Sourced
# by the scripts beside it, each of which records one protocol with real programs:
#
#   begin NAME              makes client (10.9.0.1, fd09::1) and server (10.9.0.2, fd09::2)
#   on_server COMMAND…      runs on the server, in the background; ended with the recording
#   on_client COMMAND…      runs on the client
#   capture FILE FILTER     records the veth pair into FILE until capture_end
#   capture_end
#
# Needs root, iproute2, tcpdump. Nothing leaves the namespaces; everything is removed at the end.

record_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where the fixtures are kept; one folder a protocol.
# shellcheck disable=SC2034
fixtures="$record_dir/decode/tests/recordings"

record_fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

begin() {
    [ "$(id -u)" -eq 0 ] || record_fail "needs root for network namespaces"
    client_ns="krec-$1-c-$$" server_ns="krec-$1-s-$$"
    work=$(mktemp -d)
    background=()
    trap record_end EXIT
    ip netns add "$client_ns"
    ip netns add "$server_ns"
    ip -n "$client_ns" link add veth0 type veth peer name veth0 netns "$server_ns"
    local ns address
    for ns in "$client_ns 1" "$server_ns 2"; do
        address=${ns##* } ns=${ns%% *}
        ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.veth0.accept_dad=0
        ip -n "$ns" address add "10.9.0.$address/24" dev veth0
        ip -n "$ns" address add "fd09::$address/64" dev veth0 nodad
        ip -n "$ns" link set lo up
        ip -n "$ns" link set veth0 up
    done
}

on_server() {
    ip netns exec "$server_ns" "$@" >"$work/server.log" 2>&1 &
    background+=($!)
}

on_client() {
    ip netns exec "$client_ns" "$@"
}

# Waits until the server listens on a TCP port.
wait_for_port() {
    local tries
    for tries in $(seq 100); do
        ip netns exec "$server_ns" ss -Hltn "sport = :$1" | grep -q . && return 0
        sleep 0.1
    done
    record_fail "nothing listens on port $1 after ${tries} tries: $(tail -n 3 "$work/server.log")"
}

capture() {
    rm -f "$work/tcpdump.log"
    capture_file=$1
    mkdir -p "$(dirname "$capture_file")"
    # Written elsewhere first: tcpdump gives up its rights, and a failed run leaves the old file.
    ip netns exec "$client_ns" tcpdump -i veth0 --immediate-mode -U -s 0 -Z root -w "$work/capture.pcap" "$2" \
        2>"$work/tcpdump.log" &
    capture_pid=$!
    local tries
    for tries in $(seq 100); do
        grep -q listening "$work/tcpdump.log" 2>/dev/null && return 0
        sleep 0.1
    done
    record_fail "tcpdump does not start after ${tries} tries"
}

capture_end() {
    sleep 0.3
    kill "$capture_pid"
    wait "$capture_pid" 2>/dev/null || true
    mv "$work/capture.pcap" "$capture_file"
    printf '%s: %s bytes\n' "${capture_file##*/}" "$(stat -c %s "$capture_file")" >&2
}

record_end() {
    local pid
    for pid in "${background[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    ip netns pids "$server_ns" 2>/dev/null | xargs -r kill 2>/dev/null || true
    ip netns pids "$client_ns" 2>/dev/null | xargs -r kill 2>/dev/null || true
    ip netns del "$client_ns" 2>/dev/null || true
    ip netns del "$server_ns" 2>/dev/null || true
    rm -rf "$work"
}
