#!/usr/bin/env python3
"""Runs the text specs of the program: run.py CANDOR [name.test ...]

A spec file holds cases:

    --- a misspelt verb
    file recipe.yaml
    | seed: 1
    $ candor reprot recipe.yaml
    exit 2
    stdout
    stderr
    | candor: unknown verb "reprot". Did you mean "report"?{{.*}}

Each case runs in a fresh folder. `file` writes a file there, `folder` makes one, `stdin` feeds the command, `env NAME=VALUE`
sets a variable, `requires VERB` skips the case where --help does not list the verb. A stream that is not named must be
empty; `stdout any` does not look. `shared PATH` skips the case where ../shared has no PATH; SHARED is a link to it. `bundled smollm2`
does so for the default model in the model cache. {{…}} is a regular expression that matches across lines; `exit` defaults to 0. Several
`$` in one case run in order, each checked by what follows it.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("CANDOR_SHARED", HERE.parent.parent.parent / "shared"))
CACHE = pathlib.Path(os.environ.get("CANDOR_CACHE", pathlib.Path.home() / ".cache" / "candor"))
BUNDLED = {"smollm2": "models/SmolLM2-135M-Instruct.Q4_1.gguf"}


class Command:
    def __init__(self, words):
        self.words, self.exit = words, 0
        self.streams = {"stdout": [], "stderr": []}
        self.any = set()


class Case:
    def __init__(self, name):
        self.name, self.files, self.folders, self.env = name, {}, [], {}
        self.stdin, self.requires, self.shared, self.bundled, self.commands = [], None, None, None, []


def parse(path):
    cases, target = [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("| ") or line == "|":
            target.append(line[2:])
            continue
        word, _, rest = line.partition(" ")
        if not line.strip() or line.startswith("#"):
            continue
        if word == "---":
            cases.append(Case(rest))
        elif word == "$":
            cases[-1].commands.append(Command(shlex.split(rest)))
        elif word == "file":
            target = cases[-1].files.setdefault(rest, [])
        elif word == "folder":
            cases[-1].folders.append(rest)
        elif word == "stdin":
            target = cases[-1].stdin
        elif word == "env":
            cases[-1].env.update([rest.split("=", 1)])
        elif word == "requires":
            cases[-1].requires = rest
        elif word == "shared":
            cases[-1].shared = rest
        elif word == "bundled":
            cases[-1].bundled = rest
        elif word == "exit":
            cases[-1].commands[-1].exit = int(rest)
        elif word in ("stdout", "stderr"):
            target = cases[-1].commands[-1].streams[word]
            if rest == "any":
                cases[-1].commands[-1].any.add(word)
        else:
            sys.exit(f"{path}:{number}: not a spec line: {line}")
    return cases


def pattern(lines):
    text = "".join(line + "\n" for line in lines)
    parts = re.split(r"\{\{(.*?)\}\}", text, flags=re.DOTALL)
    return "".join(f"(?:{part})" if i % 2 else re.escape(part) for i, part in enumerate(parts))


def absent(case, verbs):
    """What this case needs and this machine lacks; empty where it can run."""
    if case.requires and case.requires not in verbs:
        return f"verb {case.requires}"
    if case.shared and not (SHARED / case.shared).exists():
        return f"../shared/{case.shared}"
    if case.bundled and not (CACHE / BUNDLED[case.bundled]).exists():
        return f"model {case.bundled}"
    return ""


def run_case(candor, case):
    """The list of what went wrong."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="candor_cli_") as folder:
        root = pathlib.Path(folder)
        (root / "shared").symlink_to(SHARED)  # so that no message's line breaks depend on where the checkout lies
        for name in case.folders:
            (root / name).mkdir(parents=True)
        for name, lines in case.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        env = {"PATH": f"{candor.parent}:{os.environ['PATH']}", "HOME": folder, "TERM": "dumb", "LC_ALL": "C.UTF-8",
               "SHARED": "shared", "CANDOR_CACHE": str(CACHE if case.bundled else root / "cache"), **case.env}
        for keep in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            if keep in os.environ:
                env[keep] = os.environ[keep]
        for command in case.commands:
            stdin = "".join(line + "\n" for line in case.stdin)
            try:
                done = subprocess.run(command.words, cwd=folder, env=env, input=stdin, capture_output=True, encoding="utf-8",
                                      errors="replace", timeout=300)
            except subprocess.TimeoutExpired:
                return [f"{shlex.join(command.words)}: still running after 300 s"]
            if done.returncode != command.exit:
                wrong.append(f"{shlex.join(command.words)}: exit {done.returncode}, expected {command.exit}")
            for name, got in (("stdout", done.stdout), ("stderr", done.stderr)):
                if name in command.any:
                    continue
                if not re.fullmatch(pattern(command.streams[name]), got, flags=re.DOTALL):
                    wanted = "\n".join("    | " + line for line in command.streams[name])
                    came = "\n".join("    | " + line for line in got.splitlines())
                    wrong.append(f"{shlex.join(command.words)}: {name} is\n{came}\n  expected\n{wanted}")
    return wrong


def main():
    candor = pathlib.Path(sys.argv[1]).resolve()
    paths = [pathlib.Path(name) for name in sys.argv[2:]] or sorted(HERE.glob("*.test"))
    listed = subprocess.run([candor, "--help"], capture_output=True, encoding="utf-8").stdout
    verbs = set(re.findall(r"^  ([a-z]+) ", listed, flags=re.MULTILINE))
    failed = ran = 0
    skipped = {}
    for path in paths:
        for case in parse(path):
            lacking = absent(case, verbs)
            if lacking:
                skipped[lacking] = skipped.get(lacking, 0) + 1
                continue
            ran += 1
            wrong = run_case(candor, case)
            if wrong:
                failed += 1
                print(f"FAILED {path.name}: {case.name}")
                for what in wrong:
                    print(f"  {what}")
    print(f"{ran} cases, {failed} failed" + "".join(f", {n} skipped without {what}" for what, n in skipped.items()))
    sys.exit(1 if failed or ran == 0 else 0)


if __name__ == "__main__":
    main()
