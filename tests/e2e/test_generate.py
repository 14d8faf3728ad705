"""candor generate beyond a row in and a row out: the sampler's settings, the model's own, files that go on, Ctrl-C."""
import json
import shutil
import signal

import tiny_model
from harness import Case, jsonl, wait_for, write_rows, write_sums

SETTINGS = ["--temperature", "0.9", "--top_k", "60", "--top_p", "0.95", "--min_p", "0.02", "--repetition_penalty", "1.2",
            "--presence_penalty", "0.2", "--frequency_penalty", "0.1", "--logit_bias", "20=2.5", "--bad_words", "th"]


class Settings(Case):
    def generate(self, *words, model=None):
        return self.ok("generate", model or self.model, self.rows, "--max_new_tokens", 12, "--num_generations", 2, *words).rows()

    def setUp(self):
        super().setUp()
        self.rows = write_rows(self.root / "rows.jsonl", [{"prompt": "the"}, {"prompt": "a b c"}, {"input_ids": [5, 9]}])

    def model_with(self, **generation):
        folder = self.root / "model"
        if not folder.exists():
            shutil.copytree(self.model, folder)
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": tiny_model.END_OF_TURN, **generation}))
        return folder

    def test_zero_gap_with_every_setting(self):
        rows = self.generate(*SETTINGS)
        given = "".join(json.dumps({"input_ids": row["prompt_ids"] + row["completion_ids"]}) + "\n" for row in rows)
        for row, score in zip(rows, self.ok("score", self.model, "-", stdin=given).rows(), strict=True):
            self.assertEqual(score["logprobs"][len(row["prompt_ids"]):], row["logprobs"])
            self.assertNotEqual(row["sampling_logprobs"], row["policy_logprobs"])
        for flags in (["--generation_rows", "1"], ["--threads", "1"]):
            self.assertEqual(self.generate(*SETTINGS, *flags), rows)

    def test_a_token_alone_is_certain(self):
        for row in self.generate("--top_k", "1"):
            self.assertEqual(set(row["sampling_logprobs"]), {0.0})

    def test_bias_and_bad_words(self):
        (token,) = self.ok("tokenize", self.model, "-", stdin='{"text": "q"}').rows()[0]["input_ids"][1:]
        for row in self.generate("--logit_bias", f"{token}=100"):
            self.assertEqual(set(row["completion_ids"]), {token})
        for row in self.generate("--logit_bias", f"{token}=100", "--bad_words", "q"):
            self.assertNotIn(token, row["completion_ids"])
        self.refused(1, r"\[generate\] logit_bias names token 99999; the vocabulary has ids 0 to 28\d\.", "generate", self.model,
                     self.rows, "--logit_bias", "99999=1")

    def test_the_models_own_settings(self):
        """generation_config.json goes before what is built in, a flag before it."""
        model = self.model_with(temperature=0.6, top_k=40, min_p=0.02, repetition_penalty=1.3)
        flags = ["--temperature", "0.6", "--top_k", "40", "--min_p", "0.02", "--repetition_penalty", "1.3"]
        self.assertEqual(self.generate(model=model), self.generate(*flags))
        self.assertEqual(self.generate("--temperature", "1.1", model=model), self.generate(*flags[2:], "--temperature", "1.1"))
        greedy = self.model_with(do_sample=False, temperature=0.6)
        self.assertEqual(self.generate(model=greedy), self.generate("--temperature", "0"))
        self.assertEqual(self.generate("--temperature", "1", model=greedy), self.generate())
        # A bad word that ends the completion is none, as in Transformers; a suppressed token always is.
        words = self.model_with(bad_words_ids=[[tiny_model.END_OF_TURN], [20]], suppress_tokens=[30])
        drawn = {token for row in self.generate("--logit_bias", "20=50", "--logit_bias", "30=50", "--logit_bias",
                                                f"{tiny_model.END_OF_TURN}=9", model=words) for token in row["completion_ids"]}
        self.assertFalse({20, 30} & drawn)
        self.assertIn(tiny_model.END_OF_TURN, drawn)

    def test_lengths(self):
        def lengths(*words, model):
            out = self.ok("generate", model, self.rows, "--logit_bias", f"{tiny_model.END_OF_TURN}=-100", *words).rows()
            return [(len(row["prompt_ids"]), len(row["completion_ids"])) for row in out]

        for prompt, completion in lengths(model=self.model):
            self.assertEqual(prompt + completion, tiny_model.CONTEXT)  # 256 have no room
        for prompt, completion in lengths(model=self.model_with(max_new_tokens=9, max_length=500)):
            self.assertEqual(completion, 9)
        for prompt, completion in lengths(model=self.model_with(max_length=10)):
            self.assertEqual(prompt + completion, 10)
        for _, completion in lengths("--max_new_tokens", 20, model=self.model_with(max_length=10, max_new_tokens=3)):
            self.assertEqual(completion, 20)

    def test_a_file_that_cannot_be_followed(self):
        done = self.ok("generate", self.model_with(num_beams=4), self.rows, "--max_new_tokens", 2)
        self.assertRegex(done.err, r"candor: .*generation_config\.json asks for num_beams 4, which is not supported: .*")
        self.refused(1, r'\[.*generation_config\.json\] temperature: expected a number, got "hot"\.', "generate",
                     self.model_with(temperature="hot"), self.rows)
        self.refused(1, r"\[.*generation_config\.json\] top_p is 7; expected .*", "generate", self.model_with(top_p=7), self.rows)
        self.refused(1, r"\[.*generation_config\.json\] a bad word names token 99999; .*", "generate",
                     self.model_with(bad_words_ids=[[99999]]), self.rows)

    def test_streamed_text(self):
        flags = ["--prompt", "the", "--max_new_tokens", 20, "--temperature", 0]
        (row,) = self.ok("generate", self.model, *flags).rows()
        self.assertEqual(self.ok("generate", self.model, *flags, "--stream").out, row["completion"] + "\n")
        self.refused(1, r"\[generate\] --stream shows one completion of one prompt; there are 3 rows .*", "generate", self.model,
                     self.rows, "--stream")


class Output(Case):
    def setUp(self):
        super().setUp()
        self.rows = write_sums(self.root / "rows.jsonl", range(40))
        self.out = self.root / "out.jsonl"

    def words(self, *more, rows=None):
        return ["generate", self.model, rows or self.rows, "--max_new_tokens", 6, "--num_generations", 3, "--output", self.out, *more]

    def whole(self):
        words = self.words()
        at = words.index("--output")
        return self.ok(*words[:at], *words[at + 2:]).out.encode()

    def test_goes_on_after_any_cut(self):
        whole = self.whole()
        self.ok(*self.words())
        self.assertEqual(self.out.read_bytes(), whole)
        for cut in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole)):  # inside rows and groups
            self.out.write_bytes(whole[:cut])
            self.ok(*self.words("--resume", "--generation_rows", 5))
            self.assertEqual(self.out.read_bytes(), whole, cut)

    def test_resume_begins_where_there_is_nothing(self):
        self.ok(*self.words("--resume"))
        self.assertEqual(self.out.read_bytes(), self.whole())

    def test_ctrl_c(self):
        many = write_sums(self.root / "many.jsonl", range(3000))
        process = self.start(*self.words(rows=many))
        self.assertTrue(wait_for(process, lambda: self.out.exists() and self.out.read_bytes().count(b"\n") > 20))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        count = self.out.read_bytes().count(b"\n")
        self.assertTrue(self.out.read_bytes().endswith(b"\n"))
        self.assertLess(count, 9000)
        self.assertIn(f"candor: interrupted; {count} rows are in {self.out}. The same command with --resume goes on.",
                      (self.root / "background.log").read_text())
        short = write_rows(self.root / "short.jsonl", jsonl(many)[:count // 3 + 2])
        self.ok(*self.words("--resume", rows=short))
        rows = jsonl(self.out)
        self.assertEqual(len(rows), 3 * (count // 3 + 2))
        self.out.unlink()
        self.ok(*self.words(rows=short))
        self.assertEqual(jsonl(self.out), rows)

    def test_what_was_made_otherwise_is_refused(self):
        self.ok(*self.words())
        before = self.out.read_bytes()
        self.refused(1, r"\[generate\] .*out\.jsonl holds rows already\. --resume goes on with it; .*", *self.words())
        self.refused(1, r"\[generate\] .*out\.jsonl was made with temperature 1(\.0)?, now it is 0\.5\. .*",
                     *self.words("--resume", "--temperature", "0.5"))
        self.refused(1, r"\[generate\] .*out\.jsonl was made with seed 0, now it is 4\. .*", *self.words("--resume", "--seed", 4))
        other = write_rows(self.root / "other.jsonl", [{"prompt": "x"}, {"prompt": "y"}])
        self.refused(1, r"\[generate\] .*out\.jsonl row 1 was made from another prompt .*", *self.words("--resume", rows=other))
        (self.root / "out.jsonl.settings.json").unlink()
        self.refused(1, r"\[generate\] .*out\.jsonl holds rows, but out\.jsonl\.settings\.json is absent: .*", *self.words("--resume"))
        self.assertEqual(self.out.read_bytes(), before)

    def test_rows_before_a_bad_one_are_written(self):
        lines = self.rows.read_text().splitlines(keepends=True)
        bad = self.root / "bad.jsonl"
        bad.write_text("".join(lines[:20]) + '{"prompt": 5}\n')
        done = self.candor(*self.words("--generation_rows", 1, rows=bad))  # parts of 5 rows
        self.assertEqual(done.code, 1)
        self.assertRegex(done.err, r"row 21")
        self.assertEqual(len(jsonl(self.out)), 60)
