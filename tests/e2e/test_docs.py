"""What the pages for users show exists: every verb, option, recipe key and linked file."""
import json
import pathlib
import re
import shlex
import subprocess
import unittest

from harness import CANDOR, environment

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = [SOURCE / "README.md", SOURCE / "README.ko.md", SOURCE / "models/tiny/README.md", *sorted((SOURCE / "docs").glob("*.md"))]


def output(*words):
    return subprocess.run([CANDOR, *words], capture_output=True, encoding="utf-8", env=environment()).stdout


def blocks(page, *languages):
    """The fenced blocks in one of these languages, and the indented ones where "" is asked for."""
    text = page.read_text(encoding="utf-8")
    found = [body for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL) if language and language in languages]
    return found + (re.findall(r"^    (\S.*)$", text, flags=re.MULTILINE) if "" in languages else [])


def commands(page):
    """The words behind `candor`, of every command line that calls it."""
    for block in blocks(page, "sh", ""):
        text = re.sub(r"<<'END'\n.*?\nEND\n", "\n", block.replace("\\\n", " "), flags=re.DOTALL)
        for line in text.splitlines():
            for part in line.split(" | "):
                match = re.match(r"(?:\S*/)?candor +([a-z].*)", part.strip())
                if match:
                    yield shlex.split(match.group(1), comments=True)


class Docs(unittest.TestCase):
    def test_verbs_and_options_exist(self):
        verbs = set(re.findall(r"^  ([a-z_]+) \S.*?  \S", output("--help"), flags=re.MULTILINE))
        helps, seen = {}, 0
        for page in PAGES:
            for words in commands(page):
                verb = words[0]
                self.assertIn(verb, verbs, f"{page.name}: candor {' '.join(words)}")
                path = (verb, words[1]) if verb in ("data", "guard", "runs", "plan", "propositions") and len(words) > 1 and words[1].isalpha() and words[1].islower() else (verb,)
                if path not in helps:
                    helps[path] = output(*path, "--help")
                for word in words:
                    if word.startswith("--"):
                        self.assertRegex(helps[path], rf"{word.split('=')[0]}\b", f"{page.name}: candor {' '.join(words)}")
                seen += 1
        self.assertGreaterEqual(seen, 15)

    def test_recipe_keys_exist(self):
        keys = {verb: {entry["key"] for entry in json.loads(output(verb, "--help", "--json"))} for verb in ("sft", "dpo", "reward", "grpo", "rloo", "online_dpo", "ppo", "pretrain", "distill")}
        seen = 0
        for page in PAGES:
            for block in blocks(page, "yaml"):
                named = set(re.findall(r"^([a-z_0-9]+):", block, flags=re.MULTILINE))
                self.assertTrue(any(named <= known for known in keys.values()), f"{page.name}: {sorted(named)}")
                seen += 1
        self.assertGreaterEqual(seen, 4)

    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
                if not target.startswith("http"):
                    self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_both_readmes_name_the_same_verbs_and_files(self):
        english, korean = [(SOURCE / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md")]
        for pattern in (r"^candor ([a-z_]+)", r"\]\((docs/[^)]+)\)"):
            self.assertEqual(sorted(re.findall(pattern, english, flags=re.MULTILINE)), sorted(re.findall(pattern, korean, flags=re.MULTILINE)), pattern)
        listed = re.findall(r"^candor ([a-z_]+)", english, flags=re.MULTILINE)
        self.assertEqual(sorted(set(listed)), sorted(re.findall(r"^  ([a-z_]+) \S.*?  \S", output("--help"), flags=re.MULTILINE)))


