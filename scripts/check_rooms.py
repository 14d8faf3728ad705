#!/usr/bin/env python3
"""Holds the includes below src/ to the arrows between the rooms (docs/adr/0001-rooms-and-arrows.md).

usage: check_rooms.py [REPOSITORY]

Prints one line per violation and exits 1 when there is one. A *_test.cpp may include any room; it must lie in one, because
CMake (cmake/room.cmake) builds the tests of rooms only, and a test that nothing builds cannot fail.
"""
import os
import re
import sys

# From the ground up: a room includes only rooms above it in this list.
ROOMS = ["base", "text", "files", "data", "engine", "statistics", "algorithms", "rewards", "eval", "judge", "guard",
         "belief", "recipes", "serve", "cli"]
# The mathematics is pure: spans of numbers in and out, no model, no file.
ONLY = {"statistics": {"base"}, "algorithms": {"base"}}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
SOURCES = (".h", ".cpp", ".inc")
NOT_OURS = {".git", "build", "runs"}


def allowed(room):
    return ONLY.get(room, set(ROOMS[:ROOMS.index(room)])) | {room}


def violations_in(path, shown, room):
    """The violations of one source file of `room`; `shown` is its name in the messages."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        include = match.group(1)
        target = include.split("/")[0]
        if target in (".", ".."):
            found.append(f'{shown}:{number}: includes "{include}": write it from src/, as "ROOM/file.h"')
        elif target in ROOMS and "/" in include and target not in allowed(room):
            may = ", ".join(name for name in ROOMS if name in allowed(room) - {room}) or "no other room"
            found.append(f'{shown}:{number}: {room} includes "{include}"; {room} may include only {may}')
    return found


def violations(top):
    found = []
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if f not in NOT_OURS)
        for name in sorted(files):
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, top).replace(os.sep, "/")
            parts = shown.split("/")
            room = parts[1] if parts[0] == "src" and len(parts) > 2 else None
            if name.endswith("_test.cpp"):
                if room not in ROOMS:
                    found.append(f"{shown}: a test outside the rooms is never built; put it into src/ROOM/")
            elif parts[0] == "src" and name.endswith(SOURCES):
                if room in ROOMS:
                    found += violations_in(path, shown, room)
                else:
                    found.append(f"{shown}: not in a room; the rooms are {', '.join(ROOMS)}")
    return found


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    found = violations(top)
    print("\n".join(found) if found else "rooms: every include goes up")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
