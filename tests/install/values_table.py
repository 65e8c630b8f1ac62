#!/usr/bin/env python3
"""Writes the tables of values in charts/*/README.md from the comments of values.yaml; --check compares and writes nothing.

A value's comment is the lines right above it. A map whose children have no comments is one row; every other leaf needs a comment.
It reads the YAML that values.yaml is written in (maps, and lists below them), not all of YAML, so it needs no library.
"""

import json
import pathlib
import re
import sys

CHARTS = pathlib.Path(__file__).resolve().parent.parent.parent / "charts"
BEGIN = "<!-- values: from values.yaml by tests/install/values_table.py -->"
END = "<!-- /values -->"


class Node:
    """A value: its key, its comment, and either text (as written) or children or lines of a list."""

    def __init__(self, key, text="", comment="", heading=""):
        self.key, self.text, self.comment, self.heading = key, text, comment, heading
        self.children, self.lines = [], []

    def flow(self):
        """The value in YAML's flow style."""
        if self.children:
            return "{" + ", ".join(f"{c.key}: {c.flow()}" for c in self.children) + "}"
        return "[" + ", ".join(items(self.lines)) + "]" if self.lines else self.text


def items(lines):
    """The items of a list, each in flow style; an item is scalars below one another."""
    found = []
    for line in lines:
        word = line.strip()
        if word.startswith("- "):
            found.append([word[2:]])
        else:
            found[-1].append(word)
    return ["{" + ", ".join(i) + "}" if ": " in i[0] else i[0] for i in found]


def parse(text):
    """The tree of a values.yaml."""
    root = Node("")
    stack = [(-1, root)]
    comment, heading = [], ""
    for number, line in enumerate(text.split("\n"), 1):
        indent = len(line) - len(line.lstrip())
        word = line.strip()
        if not word:
            comment = []
        elif word.startswith("## "):
            heading = word[3:]
        elif word.startswith("#"):
            comment.append(word[1:].strip())
        elif word.startswith("- ") or (stack[-1][1].lines and indent > stack[-1][0] + 2):
            stack[-1][1].lines.append(line)
        else:
            match = re.fullmatch(r"([A-Za-z][A-Za-z0-9]*):(?: (.+))?", word)
            if not match:
                raise SystemExit(f"values.yaml:{number}: neither a key nor an item of a list: {word}")
            while stack[-1][0] >= indent:
                stack.pop()
            node = Node(match[1], match[2] or "", " ".join(comment), heading if len(stack) == 1 else "")
            stack[-1][1].children.append(node)
            stack.append((indent, node))
            comment = []
    return root


def rows(node, path=""):
    """(path, default, description) of every value that a person sets."""
    for child in node.children:
        name = f"{path}.{child.key}" if path else child.key
        if child.children and not child.comment:
            yield from rows(child, name)
        elif not child.comment:
            raise SystemExit(f"values.yaml: {name} has no comment that says what it is for")
        else:
            yield name, child.flow(), child.comment


def tables(root):
    cell = lambda text: text.replace("|", "\\|")
    out, heading = [], None
    for top in root.children:
        if top.heading != heading or not out:
            heading = top.heading
            out += ["", f"### {heading}", ""] if heading else [""]
            out += ["| value | default | |", "|---|---|---|"]
        holder = Node("")
        holder.children = [top]
        out += [f"| `{n}` | `{cell(d)}` | {cell(t)} |" for n, d, t in rows(holder)]
    return "\n".join(out) + "\n"


def unlisted(schema, node, path=""):
    """What the schema allows in a map that values.yaml writes out, and values.yaml does not show."""
    for key, inner in schema.get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        child = next((c for c in node.children if c.key == key), None)
        if child is None and name != "global":
            yield name
        elif child is not None and child.children and not child.comment:
            yield from unlisted(inner, child, name)


def main():
    stale = 0
    for values in sorted(CHARTS.glob("*/values.yaml")):
        root = parse(values.read_text(encoding="utf-8"))
        missing = list(unlisted(json.loads((values.parent / "values.schema.json").read_text(encoding="utf-8")), root))
        if missing:
            raise SystemExit(f"{values.parent.name}/values.yaml does not show what values.schema.json allows: {', '.join(missing)}")
        readme = values.parent / "README.md"
        text = readme.read_text(encoding="utf-8")
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            raise SystemExit(f"{readme}: the table of values goes between\n{BEGIN}\n{END}")
        before, rest = text.split(BEGIN)
        wanted = before + BEGIN + "\n" + tables(root) + "\n" + END + rest.split(END)[1]
        if wanted != text:
            stale += 1
            if "--check" in sys.argv:
                print(f"charts/{readme.parent.name}/README.md is not what values.yaml says: run python3 tests/install/values_table.py")
            else:
                readme.write_text(wanted, encoding="utf-8")
                print(f"wrote charts/{readme.parent.name}/README.md")
    return stale if "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
