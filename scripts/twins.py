#!/usr/bin/env python3
"""The deliberately broken twins of the algorithms and recipes, as one table: docs/twins.md.

usage: twins.py [--check]      (standard library only)

A twin is an entry of a list called `twins` in a test: {"what is broken", how}. The test that holds the list fails unless
it rejects every entry. --check: is docs/twins.md what would be written? Exits with 1 where it is not.
"""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "twins.md"
HEAD = """# Twins

A test that cannot fail proves nothing. So each algorithm has twins: copies with one thing broken, the kind of thing that people get wrong.
The test that compares the algorithm with its oracle runs on the twins as well, and fails unless it rejects every one of them.
`scripts/twins.py` writes this table from the tests; a test checks that it is in step.

| test | broken on purpose, and rejected |
|---|---|
"""
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')


def inside(text, opening):
    """What stands between the brace at `opening` and its partner."""
    depth, at = 0, opening
    while at < len(text):
        if text[at] == '"':
            at = STRINGS.match(text, at).end()
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[opening + 1:at]
        at += 1
    raise ValueError("a list of twins does not end")


def entries(body):
    """The first string of each entry of a list."""
    at = 0
    while (at := body.find("{", at)) >= 0:
        entry = inside(body, at)
        if name := STRINGS.match(entry.strip()):
            yield name.group()[1:-1]
        at += len(entry) + 2


def tables():
    """(test, what is broken) of every list of twins, by file and line."""
    for path in sorted((ROOT / "src").glob("*/*_test.cpp")):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r"> twins\s*=?\s*(?=\{)", text):
            test = re.findall(r"^TEST(?:_[FP])?\((\w+), (\w+)\)", text[:found.start()], re.M)[-1]
            yield f"{path.relative_to(ROOT / 'src')} {test[0]}.{test[1]}", list(entries(inside(text, found.end())))


def page():
    rows = []
    for test, names in tables():
        if not names:
            sys.exit(f"{test}: a list of twins without names")
        rows.append(f"| {test} | {'; '.join(names)} |\n")
    return HEAD + "".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/twins.md is not what the tests hold; write it anew with scripts/twins.py")


if __name__ == "__main__":
    main()
