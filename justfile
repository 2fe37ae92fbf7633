# Daily commands; each calls a script, so that none of them needs `just`.

# What there is.
default:
    @just --list

# Build, start khub and kprobe on an interface, show top talkers.
quickstart interface:
    scripts/quickstart {{interface}}

# Everything a change has to pass.
test:
    scripts/test

# Ours beside the peers, on generated captures.
bench *args:
    scripts/bench {{args}}

# Fuzz one target, or each for a short while.
fuzz *args:
    scripts/fuzz {{args}}

# Benchmarks of the packet path, stage by stage.
stages *args:
    cargo bench -p benches --bench stages -- {{args}}

# Format the sources.
fmt:
    cargo fmt
