"""candor distill: from an adapter, from another model and from a prompt that only the teacher reads; killed and taken up again."""
import json
import math
import random
import re
import unittest

import tiny_model
from harness import Case, flags, jsonl, kill, metrics, steps_done, wait_for, write_rows
from test_recipes import documented_names

RECIPE = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01, "max_length": 64, "max_new_tokens": 8, "seed": 7,
          "threads": 1, "logging_steps": 1, "save_steps": 2, "eval_steps": 2, "lora_r": 4, "lora_alpha": 8}


def questions(numbers):
    return [{"messages": [{"role": "user", "content": f"What is {i} + 1?"}, {"role": "assistant", "content": str(i + 1)}]} for i in numbers]


class Distill(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rows = write_rows(cls.shared / "rows.jsonl", questions(range(20)))
        cls.eval_rows = write_rows(cls.shared / "held_out_rows.jsonl", questions(range(20, 28)))
        cls.expert = tiny_model.write_model(cls.shared / "expert", seed=3)

    def words(self, output_dir, **keys):
        return ["distill", *flags({"model_name_or_path": self.model, "dataset_name": self.rows, "eval_dataset": self.eval_rows, **RECIPE,
                                   "output_dir": output_dir, **keys})]

    def test_every_teacher_is_approached(self):
        self.ok("sft", *flags({"model_name_or_path": self.model, "dataset_name": self.rows, "max_steps": 8, "learning_rate": 0.02, "lora_r": 4,
                               "threads": 1, "output_dir": self.root / "taught"}))
        known = re.compile("|".join(documented_names()))
        for name, keys in {"adapter": {"teacher_model_name_or_path": self.root / "taught" / "final"},
                           "model": {"teacher_model_name_or_path": self.expert, "beta": 1.0},
                           "prompt": {"teacher_prompt": "Say only 7.", "lmbda": 0.0, "beta": 0.0},
                           "teachers_text": {"teacher_model_name_or_path": self.expert, "lmbda": 0.0, "seq_kd": "true"},
                           "minillm": {"teacher_prompt": "Say only 7.", "loss_type": "minillm"}}.items():
            with self.subTest(name):
                run = self.root / name
                summary = json.loads(self.ok(*self.words(run, **keys), "--json").out)
                loss = summary["evaluations"]["loss"]
                self.assertLess(loss["after"], loss["before"])
                self.assertEqual(summary["rows"]["train"]["kept"], 20)
                self.assertTrue((run / "report.html").exists())
                rows = jsonl(run / "metrics.jsonl")
                self.assertEqual([row["step"] for row in rows if "eval_loss" in row], [2, 4, 6])
                for row in rows:
                    for key, value in row.items():
                        self.assertTrue(known.fullmatch(key), f"{key} is not defined in docs/metrics.md")
                        self.assertTrue(math.isfinite(value), key)
                    self.assertEqual(row.get("sampling/max_abs_logprob_gap", 0), 0)

    def test_every_weight(self):
        words = [word for word in self.words(self.root / "whole", teacher_model_name_or_path=self.expert, learning_rate=0.002)]
        for key in ("--lora_r", "--lora_alpha"):
            at = words.index(key)
            del words[at:at + 2]
        summary = json.loads(self.ok(*words, "--json").out)
        loss = summary["evaluations"]["loss"]
        self.assertLess(loss["after"], loss["before"])
        self.assertTrue((self.root / "whole" / "final" / "model.safetensors").exists())

    def test_killed_and_taken_up_again(self):
        keys = {"teacher_prompt": "Say only 7.", "lmbda": 0.5}
        whole, run = self.root / "whole", self.root / "killed"
        self.ok(*self.words(whole, **keys))
        rng = random.Random(5)
        for _ in range(3):
            process = self.start(*self.words(run, resume_from_checkpoint="auto", **keys))
            goal = min(steps_done(run) + rng.randint(1, 2), 5)
            wait_for(process, lambda: steps_done(run) >= goal)
            kill(process)
        self.ok(*self.words(run, resume_from_checkpoint="auto", **keys))
        self.assertEqual((run / "final" / "adapter_model.safetensors").read_bytes(), (whole / "final" / "adapter_model.safetensors").read_bytes())
        self.assertEqual(metrics(run), metrics(whole))

    def test_sequence_level_in_two_commands(self):
        prompts = write_rows(self.root / "prompts.jsonl", [{"prompt": row["messages"][:1]} for row in questions(range(8))])
        self.ok("generate", self.expert, prompts, "--temperature", "0", "--max_new_tokens", "6", "--output", self.root / "answers.jsonl")
        self.ok("sft", *flags({"model_name_or_path": self.model, "dataset_name": self.root / "answers.jsonl", "max_steps": 2, "lora_r": 4, "threads": 1,
                               "output_dir": self.root / "student"}))

    def test_bad_teachers_are_named(self):
        other = tiny_model.write_model(self.root / "other", vocab_size=300)
        self.refused(1, r"\[distill\] the teacher .* has a vocabulary of 300 tokens, the student .*", *self.words("run", teacher_model_name_or_path=other))
        self.refused(1, r".*nowhere.*", *self.words("run", teacher_model_name_or_path="./nowhere"))
        empty = self.root / "empty.txt"
        empty.write_text("\n")
        self.refused(1, r"\[distill\] teacher_prompt_path .*: the file is empty\.", *self.words("run", teacher_prompt_path=empty))
        text = write_rows(self.root / "text.jsonl", [{"text": "abc abc"}])
        self.refused(1, r"\[distill\] .* row 1: the teacher's prompt goes before the row's own, and this row has none\..*",
                     *self.words("run", teacher_prompt="x", dataset_name=text))


if __name__ == "__main__":
    unittest.main()
