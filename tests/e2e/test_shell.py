"""What a user's shell sees: completion in bash, zsh and fish, the manual page, colours."""
import pathlib
import re
import shutil
import subprocess

from harness import CANDOR, Case, environment

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


def verbs():
    listed = subprocess.run([CANDOR, "--help"], capture_output=True, encoding="utf-8", check=True).stdout
    return re.findall(r"^  ([a-z_]+) \S.*?  \S", listed, flags=re.MULTILINE)


class Completion(Case):
    def shell(self, *words):
        if not shutil.which(words[0]):
            self.skipTest(f"{words[0]} is not installed")
        path = f"{CANDOR.parent}:{environment()['PATH']}"
        done = subprocess.run(words, cwd=self.root, env=environment(PATH=path), capture_output=True, encoding="utf-8", timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def bash(self, *words):
        line = " ".join(f"'{word}'" for word in words)
        return self.shell("bash", "-c", f"source <(candor completion bash); COMP_WORDS=(candor {line}); COMP_CWORD={len(words)}; "
                          '_candor; printf "%s\\n" "${COMPREPLY[@]}"')

    def test_bash(self):
        self.assertEqual(self.bash("gr"), ["grpo"])
        self.assertEqual(set(self.bash("")), {*verbs(), "--help", "--version"})
        self.assertEqual(self.bash("grpo", "--num_gen"), ["--num_generations"])
        self.assertIn("--top_k", self.bash("generate", "smollm2", "--"))
        (self.root / "recipe.yaml").touch()
        self.assertEqual(self.bash("grpo", "rec"), ["recipe.yaml"])

    def test_fish(self):
        complete = "candor completion fish | source; complete -C"
        self.assertEqual(self.shell("fish", "-c", f"{complete} 'candor gr'")[0], "grpo")
        self.assertEqual({*verbs()} - {line for line in self.shell("fish", "-c", f"{complete} 'candor '")}, set())
        self.assertEqual(self.shell("fish", "-c", f"{complete} 'candor grpo --num_gen'"), ["--num_generations"])

    def test_zsh_reads_its_script(self):
        self.shell("zsh", "-f", "-c", "autoload -Uz compinit && compinit -u -D; source <(candor completion zsh); whence -w _candor")


class Manual(Case):
    PAGE = SOURCE / "docs" / "candor.1"

    def test_names_every_verb_and_no_other(self):
        page = self.PAGE.read_text(encoding="utf-8")
        section = page.split(".SH VERBS")[1].split(".SH ")[0]
        self.assertEqual(re.findall(r"^\.B candor ([a-z_]+)", section, flags=re.MULTILINE), verbs())

    def test_names_every_variable_that_the_program_reads(self):
        page = self.PAGE.read_text(encoding="utf-8").replace("\\-", "-")
        read = set()
        for file in (SOURCE / "src").rglob("*.cpp"):
            if not file.name.endswith("_test.cpp"):
                read.update(re.findall(r'(?:getenv|folder)\("([A-Z_]+)"\)', file.read_text(encoding="utf-8")))
        self.assertTrue(read)
        self.assertEqual({name for name in read if not re.search(rf"^\.B {name}$", page, flags=re.MULTILINE)}, set())

    def test_is_well_formed(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        done = subprocess.run(["groff", "-man", "-ww", "-z", self.PAGE], capture_output=True, encoding="utf-8", check=True)
        self.assertEqual(done.stderr, "")


class Colour(Case):
    def test_no_colour_where_it_is_not_wanted(self):
        """A wrong verb's message is red on a terminal, unless NO_COLOR is set or the terminal is dumb."""
        def said(**env):
            done = subprocess.run(["script", "-qec", f"{CANDOR} nonsense", "/dev/null"], env=environment(**env), capture_output=True,
                                  stdin=subprocess.DEVNULL, encoding="utf-8", timeout=60)
            return done.stdout
        if not shutil.which("script"):
            self.skipTest("script is not installed")
        self.assertIn("\x1b[", said(TERM="xterm"))
        self.assertNotIn("\x1b[", said(TERM="xterm", NO_COLOR="1"))
        self.assertNotIn("\x1b[", said(TERM="dumb"))
        self.assertIn("\x1b[", said(TERM="xterm", NO_COLOR=""))
