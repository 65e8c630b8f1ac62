#!/usr/bin/env python3
"""Rules about the text of this repository that no compiler checks; prints every breach and exits 1 if there is one.

Each rule says why it exists, so that whoever trips over it can judge whether to change the text or the rule.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_LINES = 600

# (pattern, where it applies, why)
FORBIDDEN = [
    (r"\b(?:todo|unimplemented|dbg)!|\b(?:TODO|FIXME|XXX)\b", r"\.(rs|sql|toml|yaml|md)$",
     "unfinished work belongs in an issue, not in the tree"),
    (r"/work/|/root/", r".", "a path of one machine means nothing on another"),
    (r"^\s*#\[(?:async_trait::)?async_trait\]", r"\.rs$",
     "async_trait on the engine's traits costs 6 CPU-seconds of type checking each; write the boxed future by hand"),
    # What looks like nothing, or turns the reading order around, hides what code does.
    ("[\u00a0\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]", r".",
     "invisible or bidirectional control character: write an escape"),
    (r"\r$|[ \t]+$", r"\.(rs|toml|sql|py|yaml)$", "trailing white space"),
]

# (files, pattern that must not occur there, why)
BORDERS = [
    (r"^src/(model|normalize|state|rollout)(/|\.rs$)", r"\b(?:redb|axum|reqwest|tokio|datafusion|std::fs|std::net)::",
     "the pure core knows no disk, no network and no engine"),
    (r"^src/(normalize|state|rollout)(/|\.rs$)|^src/model/(?!time\.rs)", r"\b(?:Micros|Timestamp|SystemTime|Instant)::now\(\)",
     "the pure core is told the time, it never asks"),
    (r"^src/(api|query|snapshot|sources|demo)(/|\.rs$)", r"\bredb::", "only the ledger knows its storage engine"),
    (r"^src/sources(/|\.rs$)", r"\bcrate::ledger::tables", "sources never see the ledger's tables"),
    (r"^(?!src/backup/(bucket|refusal))(src|tests|benches)/", r"(?<!::)\bobject_store::",
     "two files speak to object stores and know what they say: credentials and signatures stay there"),
    (r"^(?!src/ledger/record)(src|tests|benches)/", r"\bbincode::",
     "one module names the codec, so that a change of codec is a change of one file"),
]


# The text of an error that also has that cause as its source: whoever prints the chain says it twice.
SAID_TWICE = re.compile(r'#\[error\(\s*"[^\]]*\{source\}|#\[error\(\s*"[^\]]*\{0\}[^\]]*\)\]\s*\w+\(\s*#\[(?:from|source)\]')


def tracked():
    """Committed and new files, as git sees them: what is ignored is not ours."""
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted(out.stdout.split("\n")[:-1])


def breaches():
    for name in tracked():
        path = ROOT / name
        if name in ("LICENSE", ".ci/text_rules.py") or name.endswith(".lock") or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary fixture
        lines = text.split("\n")
        for pattern, where, why in FORBIDDEN:
            if re.search(where, name):
                for number, line in enumerate(lines, 1):
                    if re.search(pattern, line):
                        yield f"{name}:{number}: {why}"
        code = text.split("\n#[cfg(test)]\nmod ")[0].split("\n")
        for files, pattern, why in BORDERS:
            if re.search(files, name):
                for number, line in enumerate(code, 1):
                    if re.search(pattern, line) and not line.lstrip().startswith("//"):
                        yield f"{name}:{number}: {why}"
        if name.endswith(".rs"):
            if not text.startswith("//!"):
                yield f"{name}:1: a file opens with //! - what it is for, and the invariant it keeps"
            if len(lines) - 1 > MAX_LINES:
                yield f"{name}: {len(lines) - 1} lines, more than {MAX_LINES}: split it"
            for said in SAID_TWICE.finditer(text):
                yield (f"{name}:{text.count(chr(10), 0, said.start()) + 1}: the chain of causes says this one again: leave it out of "
                       "the text, or have no source")
            if re.search(r"(^|/)(mod|utils?|common|helpers?)(\.rs|/)", name):
                yield f"{name}: name a module after what it is about (foo.rs beside foo/, no mod.rs, no utils)"


def main():
    found = list(breaches())
    print("\n".join(found) if found else "text rules hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
