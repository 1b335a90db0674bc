# Commands of a developer. `verify` reads, `fix` writes; CI runs the same scripts without just (.ci/run).

default:
    @just --list

# The read-only gate: format, lock file, style, dependencies, clippy, layers.
verify *PARTS:
    .ci/verify {{PARTS}}

# Rewrites what can be rewritten.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# All tests.
test *ARGS:
    cargo test --workspace {{ARGS}}

# The chaos tests alone: real processes, killed and paused.
chaos *ARGS:
    cargo test -p consigner-chaos-tests {{ARGS}}

# A cluster of three nodes on this machine, until Ctrl-C.
cluster *ARGS:
    cargo run --release -- dev {{ARGS}}

# Three nodes shown working, then stopped.
tour *ARGS:
    cargo run --release -- dev --tour {{ARGS}}

# Everything that CI does.
ci:
    .ci/run
