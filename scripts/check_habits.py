#!/usr/bin/env python3
"""Checks habits that a compiler does not: CONTRIBUTING.md, "House rules".

usage: check_habits.py [REPOSITORY]

Prints one line per violation and exits 1 when there is one:
  unfinished work marked in a comment; paths of one machine; source files over 500 lines; files over 2 MiB;
  tabs, trailing blanks or a missing last newline in sources; a library room that prints or exits (only cli does).
"""
import os
import re
import subprocess
import sys

MAX_LINES = 500
MAX_BYTES = 2 << 20
SOURCES = (".cpp", ".h", ".inc", ".py", ".sh", ".js", ".css", ".cmake", "CMakeLists.txt")

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(home|root|work)/\w")
PRINTS_OR_EXITS = re.compile(r"\bstd::(cout|cerr|exit|quick_exit)\b|(?<![\w.:>])(?:std::)?(printf|puts|exit|_exit)\(|\bfmt::print\(")
MAY_PRINT = ("src/cli/", "src/base/check.cpp")


def files_of(top):
    """What git tracks or would track; every file but generated folders where this is no git checkout."""
    git = subprocess.run(["git", "-C", top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         capture_output=True)
    if git.returncode == 0:
        names = {name.decode() for name in git.stdout.split(b"\0") if name}
        return sorted(name for name in names if os.path.isfile(os.path.join(top, name)))
    names = []
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if f not in (".git", "build", "runs")]
        names += [os.path.relpath(os.path.join(folder, name), top) for name in files]
    return sorted(names)


def violations_in(name, content):
    """The violations of one file: its name from the repository's root, its content as bytes."""
    found = []
    if len(content) > MAX_BYTES:
        found.append(f"{name}: {len(content)} bytes; at most {MAX_BYTES}. Generate it, or fetch it at set-up")
    if b"\0" in content[:8192]:
        return found
    lines = content.decode("utf-8", "replace").split("\n")
    if name.endswith(SOURCES):
        if len(lines) - 1 > MAX_LINES:
            found.append(f"{name}: {len(lines) - 1} lines; at most {MAX_LINES}. Split it along its seams")
        if content and lines[-1]:
            found.append(f"{name}:{len(lines)}: no newline at the end of the file")
    library = name.startswith("src/") and not name.startswith(MAY_PRINT) and not name.endswith("_test.cpp")
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            found.append(f"{name}:{number}: unfinished work marked in the file: finish it or open an issue")
        if MACHINE_PATH.search(line):
            found.append(f"{name}:{number}: a path of one machine: {MACHINE_PATH.search(line).group(0)}…")
        if name.endswith(SOURCES) and ("\t" in line or line != line.rstrip()):
            found.append(f"{name}:{number}: a tab or a trailing blank")
        if library and PRINTS_OR_EXITS.search(line.split("//")[0]):
            found.append(f"{name}:{number}: a library room prints or exits; return a Result or a value, cli prints")
    return found


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    found = []
    for name in files_of(top):
        with open(os.path.join(top, name), "rb") as file:
            found += violations_in(name, file.read())
    print("\n".join(found) if found else "habits: nothing to report")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
