"""candor chat: driven line by line by a script, and at a terminal with Ctrl-C and Ctrl-D."""
import errno
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import unittest

import tiny_model
from harness import CANDOR, LIMIT_S, Case, environment, end, jsonl, write_rows

GREEDY = ["--temperature", 0, "--max_new_tokens", 8]


def shown(text):
    """What a terminal may see of it."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)


class Script(Case):
    """Standard input is no terminal: a message a line, an answer on standard output."""

    def chat(self, *lines, words=(), model=None):
        return self.ok("chat", model or self.model, *words, stdin="".join(line + "\n" for line in lines))

    def answer_to(self, messages, *words, adapter=None):
        """What generate says to this conversation."""
        flags = ["--adapter", adapter] if adapter else []
        return self.ok("generate", self.model, "-", *GREEDY, *flags, *words, stdin=json.dumps({"messages": messages})).rows()[0]["completion"]

    def saved(self, *lines, words=GREEDY):
        path = self.root / "saved.jsonl"
        path.unlink(missing_ok=True)
        self.chat(*lines, f"/save {path}", words=words)
        return jsonl(path)[0]["messages"]

    def test_answers_are_those_of_generate(self):
        """The history with its keys and values kept against whole prompts computed afresh."""
        messages = self.saved("2?", "4?", "y\\", "n", words=[*GREEDY, "--system", "be"])
        self.assertEqual([message["role"] for message in messages], ["system"] + ["user", "assistant"] * 3)
        self.assertEqual(messages[5]["content"], "y\nn")
        for i in (2, 4, 6):
            self.assertEqual(messages[i]["content"], self.answer_to(messages[:i]))

    def test_sampled_answers_repeat_with_their_seed(self):
        flags = ["--max_new_tokens", 8, "--temperature", 1.2]
        first = self.saved("a", "b", words=[*flags, "--seed", 3])
        self.assertEqual(self.saved("a", "b", words=[*flags, "--seed", 3]), first)
        self.assertNotEqual(self.saved("a", "b", words=[*flags, "--seed", 4]), first)

    def test_output_is_the_answers(self):
        done = self.chat("2 + 3?", words=GREEDY)
        self.assertEqual(done.out, shown(self.answer_to([{"role": "user", "content": "2 + 3?"}])) + "\n")

    def test_commands(self):
        one = self.saved("a", "b", "/undo")
        self.assertEqual(len(one), 2)
        self.assertEqual(self.saved("a", "/reset", "b")[0]["content"], "b")
        self.assertEqual(self.saved("a", "/system be kind", "/reset", "c")[0], {"role": "system", "content": "be kind"})
        self.assertEqual(self.saved("/system x", "/system", "a")[0]["role"], "user")
        again = self.saved("a", "/set temperature 1.5", "/retry", "/retry")
        self.assertEqual([message["role"] for message in again], ["user", "assistant"])
        done = self.chat("a", "/stats", "/help", "/set max_new_tokens 3", "/exit", "never said", words=GREEDY)
        self.assertRegex(done.out, r"2 messages; the last prompt had \d+ of 128 tokens, 0 of them at hand; \d+ tokens in ")
        self.assertIn("/compare on|off", done.out)
        self.assertNotIn("never", done.out)

    def test_the_next_turn_computes_only_what_is_new(self):
        out = self.chat("a", "b", "/stats", words=GREEDY).out
        known = int(re.search(r"(\d+) of them at hand", out)[1])
        self.assertGreater(known, 10)

    def test_wrong_commands(self):
        for line, message in (("/sytem x", r'\[chat\] unknown command "/sytem"\. Did you mean "system"\? .*'),
                              ("/adapter on", r"\[chat\] there is no adapter\. Start with --adapter DIR\."),
                              ("/adapter perhaps", r'\[chat\] /adapter takes on or off, not "perhaps"\.'),
                              ("/compare on", r"\[chat\] there is no adapter to compare with\. .*"),
                              ("/set", r'\[chat\] /set knows no ""\. .*'),
                              ("/set temperature hot", r'\[chat\] expected a number, got "hot"\.'),
                              ("/set top_p 4", r"\[chat\] top_p is 4; expected .*"),
                              ("/set max_new_tokens 0", r"\[chat\] max_new_tokens is 0; it cannot be that small\."),
                              ("/save", r"\[chat\] /save takes the name of a file\."),
                              ("/save x.jsonl", r"\[chat\] there is nothing to save yet\."),
                              ("/load none.jsonl", r"none\.jsonl: cannot be opened: .*"),
                              ("/retry", r"\[chat\] there is no answer to try again\.")):
            self.refused(0, message, "chat", self.model, stdin=line + "\n")

    def test_save_is_training_data_and_load_goes_on(self):
        first = self.saved("a", "b")
        write_rows(self.root / "old.jsonl", [{"messages": [{"role": "user", "content": "z"}]}, {"messages": first}])
        self.chat("/load old.jsonl", "c", "/save new.jsonl", words=GREEDY)
        (row,) = jsonl(self.root / "new.jsonl")
        self.assertEqual(row["messages"][:4], first)
        self.assertEqual(row["messages"][5]["content"], self.answer_to(row["messages"][:5]))
        self.chat("c", "/save new.jsonl", words=[*GREEDY, "--load", "old.jsonl"])
        self.assertEqual(jsonl(self.root / "new.jsonl")[1], row)
        self.ok("score", self.model, "new.jsonl")  # what reads messages reads it
        write_rows(self.root / "bad.jsonl", [{"messages": [{"role": "user", "content": 5}]}])
        self.refused(1, r"\[chat\] bad\.jsonl row 1 holds a message whose content is no text\.", "chat", self.model, "--load", "bad.jsonl")

    def test_with_and_without_the_adapter(self):
        adapter = self.grpo("run", learning_rate=0.3) / "final"
        question = [{"role": "user", "content": "2 + 3?"}]
        with_it, without = shown(self.answer_to(question, adapter=adapter)), shown(self.answer_to(question))
        self.assertNotEqual(with_it, without)
        flags = [*GREEDY, "--adapter", adapter]
        self.assertEqual(self.chat("2 + 3?", "/adapter off", "/reset", "2 + 3?", words=flags).out, f"{with_it}\n{without}\n")
        both = self.chat("2 + 3?", words=[*flags, "--compare"])
        self.assertEqual(both.out, f"[with the adapter]\n{with_it}\n[without the adapter]\n{without}\n")
        off = self.chat("/adapter off", "/compare on", "2 + 3?", f"/save {self.root}/c.jsonl", words=flags)
        self.assertEqual(off.out, f"[without the adapter]\n{without}\n[with the adapter]\n{with_it}\n")
        self.assertEqual(jsonl(self.root / "c.jsonl")[0]["messages"][1]["content"], self.answer_to(question))

    def test_the_oldest_turns_give_way(self):
        done = self.chat(*["x" * 20] * 6, f"/save {self.root}/c.jsonl", words=GREEDY)
        self.assertRegex(done.err, r"the oldest \d messages no longer fit the context of 128 tokens; the model does not see them\.")
        messages = jsonl(self.root / "c.jsonl")[0]["messages"]
        self.assertEqual(len(messages), 12)  # they are kept for the user
        self.refused(0, r"\[chat\] the message has \d+ tokens with what the template adds, and the context of the model is 128\. .*",
                     "chat", self.model, stdin="x" * 300 + "\n")
        long = self.candor("chat", self.model, *GREEDY, stdin="x" * 300 + "\nshort\n")
        self.assertEqual(long.out, shown(self.answer_to([{"role": "user", "content": "short"}])) + "\n")

    def test_templates(self):
        bare = shutil.copytree(self.model, self.root / "bare")
        (bare / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
        self.refused(1, r"\[chat\] \[.*bare\] has no chat template\. Use an instruct model, .*", "chat", bare, stdin="")
        strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + tiny_model.TEMPLATE
        model = tiny_model.write_model(self.root / "strict", template=strict)
        self.refused(1, r"\[chat\] the model's template does not take this system prompt: .*System role not supported.*",
                     "chat", model, "--system", "be kind", stdin="a\n")
        done = self.candor("chat", model, *GREEDY, stdin="/system be kind\na\n")
        self.assertIn("System role not supported", done.err)
        self.assertTrue(done.out.strip())

    def test_a_line_that_is_no_text(self):
        done = subprocess.run([CANDOR, "chat", self.model], input=b"\xff\xfe\n", capture_output=True, env=environment(), timeout=LIMIT_S)
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        self.assertIn(b"is not UTF-8", done.stderr)


class Terminal(Case):
    def open(self, *words, columns=100, **env):
        self.controller, terminal = pty.openpty()
        self.addCleanup(os.close, self.controller)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

        def own_terminal():  # so that a typed Ctrl-C becomes SIGINT
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([CANDOR, "chat", *map(str, words)], cwd=self.root, env=environment(**env), stdin=terminal,
                                        stdout=terminal, stderr=terminal, preexec_fn=own_terminal)
        self.addCleanup(end, self.process)
        os.close(terminal)

    def type(self, text):
        os.write(self.controller, text.encode())

    def until(self, mark):
        """What came up to the mark; fails where it does not come."""
        got, give_up = "", time.monotonic() + LIMIT_S
        while not re.search(mark, got):
            ready, _, _ = select.select([self.controller], [], [], max(0, give_up - time.monotonic()))
            self.assertTrue(ready, f"no {mark!r} in {got!r}")
            try:
                part = os.read(self.controller, 4096)
            except OSError as failure:
                if failure.errno != errno.EIO:
                    raise
                part = b""
            self.assertTrue(part, f"no {mark!r} in {got!r}")
            got += part.decode("utf-8", "replace")
        return got

    def test_a_conversation(self):
        self.open(self.model, *GREEDY)
        self.until(r"> $")
        self.type("2 + 3?\n")
        said = self.until(r"\r\n.*\r\n(candor: .*\r\n)?> $")
        (row,) = self.ok("generate", self.model, "-", *GREEDY, stdin='{"messages": [{"role": "user", "content": "2 + 3?"}]}').rows()
        self.assertIn(shown(row["completion"]), said)
        self.assertNotIn("\x1b", said)  # TERM=dumb
        self.type("\x04")
        self.assertEqual(self.process.wait(30), 0)

    def test_colour_only_where_it_is_wanted(self):
        self.open(self.model, TERM="xterm")
        self.assertIn("\x1b[1m", self.until(r"> "))
        self.type("/exit\n")
        self.assertEqual(self.process.wait(30), 0)
        self.open(self.model, TERM="xterm", NO_COLOR="1")
        self.assertNotIn("\x1b", self.until(r"> "))

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        large = tiny_model.write_model(self.root / "large", max_position_embeddings=100000)
        self.open(large, "--max_new_tokens", 90000, "--logit_bias", f"{tiny_model.END_OF_TURN}=-100")
        self.until(r"> $")
        self.type("go on for ever\n")
        self.until(r"\n\S{20}")
        self.type("\x03")
        self.until(r"candor: stopped; what was said is kept\.\r\n> $")
        self.type("/save kept.jsonl\n")
        self.until(r"2 messages are appended(.|\n)*> $")
        kept = jsonl(self.root / "kept.jsonl")[0]["messages"]
        self.assertGreater(len(kept[1]["content"]), 15)
        self.type("half a li\x03")  # at the prompt it takes the line back
        self.until(r"\n> $")
        self.type("/stats\n")
        self.until(r"2 messages; (.|\n)*> $")
        self.type("\x04")
        self.assertEqual(self.process.wait(30), 0)

    def test_side_by_side(self):
        adapter = self.grpo("run", learning_rate=0.3) / "final"
        self.open(self.model, *GREEDY, "--adapter", adapter, "--compare", columns=83)
        self.until(r"> $")
        self.type("2 + 3?\n")
        said = self.until(r"\| without the adapter\r\n-{40} \| -{40}\r\n[^\n]* \| [^\n]*\n(.|\n)*> $")
        self.assertRegex(said, r"with the adapter {24} \| without")
        self.open(self.model, *GREEDY, "--adapter", adapter, "--compare", columns=50)  # too narrow: one after the other
        self.until(r"> $")
        self.type("2 + 3?\n")
        self.until(r"\[with the adapter\]\r\n[^\n]*\n(.|\n)*\[without the adapter\]\r\n(.|\n)*> $")

    def test_the_model_cannot_move_the_cursor(self):
        """Every answer is an escape: the byte 0x1b as the only likely token."""
        (row,) = self.ok("tokenize", self.model, "-", stdin=json.dumps({"text": "\x1b"})).rows()
        self.open(self.model, *GREEDY, "--logit_bias", f"{row['input_ids'][-1]}=100")
        self.until(r"> $")
        self.type("hello\n")
        said = self.until(r"\ufffd{8}\r\n(candor: .*\r\n)?> $")
        self.assertNotIn("\x1b", said)


if __name__ == "__main__":
    unittest.main()
