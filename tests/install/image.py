#!/usr/bin/env python3
"""Checks of the Dockerfile and of the GitHub workflows what can be checked without Docker and GitHub.

    tests/install/image.py              also runs hadolint and actionlint where there are any, the latter from KOH_CHART_TOOLS

The program is the one at KOH_PROGRAM, else the one of the target directory; without one, its libraries are not looked at.
"""

import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCKERFILE = ROOT / "Dockerfile"
VALUES = ROOT / "charts/kalypso-observability-hub/values.yaml"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))

# What the base has: libc6 and libgcc-s1.
LIBRARIES = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1"}
# Debian releases, as the names of images have them.
DEBIAN = {"trixie": "13", "bookworm": "12"}

failures = []


def fail(text):
    failures.append(text)
    print(f"FAILED: {text}")


def instructions():
    """(word, rest) of every instruction, lines joined and comments gone."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.M)
    text = re.sub(r"\\\n", "", text)
    return [tuple(line.split(None, 1)) for line in text.split("\n") if line.strip()]


def copied():
    """What is copied from the checkout."""
    for word, rest in instructions():
        if word == "COPY" and "--from=" not in rest:
            yield from rest.split()[:-1]


def check_context():
    """What is copied exists, and .dockerignore lets it through."""
    rules = [r for r in (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n") if r and not r.startswith("#")]
    for name in copied():
        if not (ROOT / name).exists():
            fail(f"Dockerfile: COPY {name}: there is no such file")
        kept = True
        for rule in rules:
            if fnmatch.fnmatch(name, rule.lstrip("!")):
                kept = rule.startswith("!")
        if not kept:
            fail(f".dockerignore leaves out {name}, which the Dockerfile copies")


def check_includes():
    """What the program includes when it is compiled is copied."""
    roots = [(ROOT / name).resolve() for name in copied()]
    for source in sorted((ROOT / "src").rglob("*.rs")):
        code = source.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
        if source.name == "tests.rs" or "tests" in source.parts:
            continue
        for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', code):
            target = (source.parent / path).resolve()
            if not any(target == root or root in target.parents for root in roots):
                fail(f"{source.relative_to(ROOT)} includes {path}, which the Dockerfile does not copy")


def check_dependency_layer():
    """The step that stands in for the sources makes something that cargo takes for the project."""
    steps = [rest for word, rest in instructions() if word == "RUN" and "fn main" in rest]
    if len(steps) != 1:
        return fail("Dockerfile: no step that builds the dependencies alone")
    build = "cargo build --release --locked --bin koh"
    if build not in steps[0]:
        return fail(f"Dockerfile: the step that builds the dependencies does not run `{build}`")
    asks = steps[0].replace(build, "cargo metadata --locked --offline --no-deps --format-version 1")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Cargo.toml", "Cargo.lock"):
            shutil.copy(ROOT / name, folder)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", asks], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            return fail(f"Dockerfile: the step that builds the dependencies does not work: {done.stderr}")
        targets = {target["name"] for target in json.loads(done.stdout)["packages"][0]["targets"]}
        if not {"koh", "it", "kube"} <= targets:
            fail(f"Dockerfile: cargo sees the targets {sorted(targets)} only")


def check_stages():
    """The base has the C library that the program is built with, and compiler and user are those that others name."""
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    rust = re.fullmatch(r"rust:(\d+\.\d+)\.\d+-(\w+)", images[0])
    if not rust:
        return fail(f"Dockerfile: {images[0]} does not say which Rust on which Debian")
    wanted = re.search(r'^rust-version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)[1]
    if rust[1] != wanted:
        fail(f"Dockerfile: Rust {rust[1]}, and Cargo.toml says {wanted}")
    if f"debian{DEBIAN.get(rust[2])}" not in images[-1]:
        fail(f"Dockerfile: the program is built on {rust[2]} and run on {images[-1]}")
    user = dict(instructions())["USER"]
    values = VALUES.read_text(encoding="utf-8")
    ids = re.findall(r"^  (?:runAsUser|runAsGroup|fsGroup): (\d+)$", values, re.M)
    if len(ids) != 3 or {user} != {f"{i}:{j}" for i in ids for j in ids}:
        fail(f"the image runs as {user}, and the chart as {ids}")


def check_libraries():
    """The program needs no library that the base does not have."""
    target = os.environ.get("CARGO_TARGET_DIR", str(pathlib.Path.home() / ".cache/koh/target"))
    program = pathlib.Path(os.environ.get("KOH_PROGRAM", f"{target}/release/koh"))
    if not program.is_file() or not shutil.which("ldd"):
        return print(f"SKIPPED the program's libraries: no {program}, or no ldd")
    linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    names = {pathlib.PurePath(line.split()[0]).name for line in linked.split("\n") if line.strip()}
    more = {name for name in names if name not in LIBRARIES and not name.startswith("ld-linux")}
    if more or not names:
        fail(f"the base image has no {', '.join(sorted(more)) or 'such program'}: {linked}")


def check_pins():
    """Actions are pinned by full version; what workflows run is there."""
    for workflow in WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        for action in re.findall(r"uses: (\S+)", text):
            if not re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", action):
                fail(f"{workflow.name}: {action} is not pinned by full version")
        for script in re.findall(r"(?<![\w/.])(\.ci/[\w-]+)", text):
            if not os.access(ROOT / script, os.X_OK):
                fail(f"{workflow.name} runs {script}, which is not there, or not executable")
        for toolchain in re.findall(r"rustup (?:toolchain install|default) (\S+)", text):
            if f"rust:{toolchain}-" not in DOCKERFILE.read_text(encoding="utf-8"):
                fail(f"{workflow.name}: Rust {toolchain} is not the one of the Dockerfile")


def check_sbom():
    """What the program is made of is told whole, and without what only tests use."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    if not shutil.which("cargo-cyclonedx", path=f"{os.environ['PATH']}:{cache}/koh/tools/cyclonedx/bin"):
        return print("SKIPPED the SBOM: no cargo-cyclonedx here (.ci/sbom installs it)")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([ROOT / ".ci/sbom", "x86_64-unknown-linux-gnu", f"{folder}/sbom.json"], capture_output=True, text=True)
        if done.returncode:
            return fail(f".ci/sbom: {done.stderr}")
        told = {part["name"] for part in json.loads(pathlib.Path(folder, "sbom.json").read_text(encoding="utf-8"))["components"]}
    cargo = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    ships, tests = (set(re.findall(r"^([\w-]+) = ", section, re.M)) for section in
                    (re.search(rf"^\[{name}\]\n(.*?)(?=^\[)", cargo, re.M | re.S)[1] for name in ("dependencies", "dev-dependencies")))
    # What tests name may be in the program all the same, through others.
    tree = subprocess.run(["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"],
                          cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tests -= {line.split()[0] for line in tree.splitlines() if line.strip()}
    if not ships <= told or told & tests:
        fail(f"the SBOM leaves out {sorted(ships - told)} and tells of {sorted(told & tests)}")
    return None


def check_linter(name, program, *arguments):
    if not program or not pathlib.Path(program).is_file():
        return print(f"SKIPPED {name}: it is not here")
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        fail(f"{name}: {done.stdout}{done.stderr}")


check_context()
check_includes()
check_dependency_layer()
check_stages()
check_libraries()
check_pins()
check_sbom()
check_linter("hadolint", os.environ.get("HADOLINT") or shutil.which("hadolint"), "Dockerfile")
check_linter("actionlint", os.environ.get("KOH_CHART_TOOLS", "/nowhere") + "/actionlint")
if failures:
    sys.exit(f"{len(failures)} checks of the image and the workflows failed")
print("the image and the workflows hold")
