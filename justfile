# What a person does here; `just` prints this list. CI runs `.ci/run`, which uses the same commands.

set shell := ["bash", "-euo", "pipefail", "-c"]

# One target directory for people and CI alike, so that there is one cold build.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", env("XDG_CACHE_HOME", home_directory() / ".cache") / "koh/target")

_default:
    @just --list --unsorted

# Fast feedback: types and lints of the library.
check:
    CARGO_TARGET_DIR="$CARGO_TARGET_DIR/lint" cargo clippy --release --locked --lib -- -D warnings

# Every test, on the profile that ships.
test *ARGS:
    cargo test --release --locked {{ ARGS }}

# Formatting, lints and the rules about text.
lint:
    .ci/run fmt text clippy

# Rewrite what is generated and committed: schema/openapi.json, schema/tables.md, schema/metrics.md, alert rules, tables of values.
generate:
    KOH_BLESS=1 cargo test --release --locked --lib
    python3 tests/install/values_table.py

# The charts: lint, golden renders (KOH_BLESS=1 writes them), strict schemas.
charts:
    .ci/run charts

# A hub with a simulated fleet, on a temporary directory.
demo *ARGS:
    cargo run --release --locked -- demo {{ ARGS }}

# Figures beside the budgets: PRESET is S, M or L.
bench PRESET="S":
    cargo bench --locked --bench fleet -- --preset {{ PRESET }}

# Licences, sources, bans and (with network) advisories of the dependencies.
deny:
    .ci/run deny

# All that CI does.
ci:
    .ci/run
