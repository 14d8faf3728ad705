#!/usr/bin/env python3
"""Every training verb, killed with kill -9 at random moments and resumed, ends as the run that nobody disturbed: kill9.py CANDOR [VERB ...]

Three moments for each verb, drawn from a seed over the length of a whole run, start-up and last save included; CANDOR_NIGHTLY=20 takes twenty.
Compared: every file of final/, metrics.jsonl but for times, completions.jsonl.
A verb that trains and has no row in VERBS is a failure, so that none stays uncovered.
"""
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
os.environ["CANDOR_BINARY"] = str(pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else "candor")
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from harness import CANDOR, Case, environment, flags, metrics, write_rows  # noqa: E402

MOMENTS = int(os.environ.get("CANDOR_NIGHTLY", "3"))
COMMON = {"max_steps": 10, "learning_rate": 0.01, "seed": 7, "threads": 1, "logging_steps": 1, "save_steps": 2, "save_total_limit": 2}
LORA = {"lora_r": 4, "lora_alpha": 8}
# Watched, with a held-out reward: its looks and the guard's memory are part of what must repeat.
WATCHED = {"guard": "warn", "guard_control_steps": 3, "gold_reward_funcs": "accuracy", "gold_accuracy_extraction": "exact", "gold_steps": 3}
ROLLOUTS = {**COMMON, **LORA, **WATCHED, "per_device_train_batch_size": 16, "reward_funcs": "accuracy,format", "format_regex": "[a-z0-9]+"}
GROUPS = {**ROLLOUTS, "num_generations": 4, "max_completion_length": 8, "num_iterations": 2, "beta": 0.02}
ROWS = {**COMMON, **LORA, "per_device_train_batch_size": 4}
PAIRS = {**ROWS, **WATCHED}
# Verb -> the rows it takes and its keys.
VERBS = {
    "pretrain": ("texts", {**COMMON, "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "max_length": 48, "per_device_train_batch_size": 8}),
    "sft": ("completions", {**ROWS, "max_length": 64}),
    "distill": ("completions", {**ROWS, "max_length": 64, "max_new_tokens": 8, "teacher_prompt": "Say only 7.", "lmbda": 0.5}),
    "grpo": ("sums", GROUPS),
    "rloo": ("sums", GROUPS),
    "online_dpo": ("sums", {**ROLLOUTS, "max_new_tokens": 8}),
    "xpo": ("sums", {**ROLLOUTS, "max_new_tokens": 8}),
    "nash_md": ("sums", {**ROLLOUTS, "max_new_tokens": 8}),
    "dpo": ("pairs", PAIRS),
    "cpo": ("pairs", PAIRS),
    "orpo": ("pairs", PAIRS),
    "kto": ("labelled", ROWS),
    "reward": ("pairs", ROWS),
    "prm": ("steps", ROWS),
    "ppo": ("sums", {**ROLLOUTS, "max_completion_length": 8, "num_ppo_epochs": 2, "num_mini_batches": 2, "adaptive_kl": "true", "kl_target": 0.1}),
}


def ask(n):
    return [{"role": "user", "content": f"{n % 5} + {n % 4}?"}]


def answer(text):
    return [{"role": "assistant", "content": str(text)}]


ROWS_OF = {
    "texts": [{"text": f"the {n} sheep and the {n + 1} goats went up the hill, and came home at night."} for n in range(40)],
    "completions": [{"prompt": ask(n), "completion": answer(n % 5 + n % 4)} for n in range(20)],
    "pairs": [{"prompt": ask(n), "chosen": answer(n % 5 + n % 4), "rejected": answer(n % 5 + n % 4 + 1), "answer": str(n % 5 + n % 4)} for n in range(20)],
    "labelled": [{"prompt": ask(n), "completion": answer(n % 5 + n % 4 + n % 2), "label": n % 2 == 0} for n in range(20)],
    "steps": [{"prompt": f"{n} + {n}?", "completions": [f"{n}", f"{2 * n + n % 2}"], "labels": [True, n % 2 == 0]} for n in range(20)],
    "sums": [{"prompt": ask(n), "answer": str(n % 5 + n % 4)} for n in range(16)],
}


class Kills(Case):
    def words(self, verb, output_dir):
        kind, keys = VERBS[verb]
        rows = write_rows(self.root / f"{kind}.jsonl", ROWS_OF[kind])
        model = {} if verb == "pretrain" else {"model_name_or_path": self.model}
        held_out = {"eval_dataset": rows} if keys.get("gold_reward_funcs") and kind == "pairs" else {}
        return [verb, *flags({**model, **held_out, "dataset_name": rows, **keys, "output_dir": output_dir, "resume_from_checkpoint": "auto"})]

    def killed(self, words, after):
        """Starts the command and kills it so many seconds later; whether it was still running."""
        process = subprocess.Popen([CANDOR, *map(str, words)], cwd=self.root, env=environment(CANDOR_DATA=self.root / "data"),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        process.kill()
        return process.wait() < 0

    def same(self, run, whole, what):
        for file in sorted(path.relative_to(whole) for path in (whole / "final").rglob("*") if path.is_file()):
            self.assertEqual((run / file).read_bytes(), (whole / file).read_bytes(), f"{what}: {file}")
        self.assertEqual(metrics(run), metrics(whole), f"{what}: metrics.jsonl")
        if (whole / "completions.jsonl").exists():
            self.assertEqual((run / "completions.jsonl").read_bytes(), (whole / "completions.jsonl").read_bytes(), f"{what}: completions.jsonl")

    def check(self, verb):
        begun = time.monotonic()
        self.ok(*self.words(verb, "whole"))
        length = time.monotonic() - begun
        rng, kills = random.Random(f"{verb} 1"), 0
        for _ in range(20 * MOMENTS):
            if kills == MOMENTS:
                return length
            moment, run = rng.random(), self.root / "run"
            if self.killed(self.words(verb, "run"), moment * length):
                kills += 1
                self.ok(*self.words(verb, "run"))
                self.same(run, self.root / "whole", f"{verb}, killed after {moment:.3f} of {length:.2f} s")
            shutil.rmtree(run, ignore_errors=True)
        return self.fail(f"{verb}: every run ended before it could be killed so often")


def covered(verb):
    def test(self):
        length = self.check(verb)
        print(f"{verb}: {MOMENTS} kills of a run of {length:.2f} s", flush=True)
    return test


def main():
    listed = subprocess.run([CANDOR, "--help"], capture_output=True, encoding="utf-8", check=True).stdout
    training = set(re.findall(r"^  ([a-z_]+) RECIPE\.yaml", listed, flags=re.MULTILINE))
    without = sorted(training - set(VERBS))
    if without:
        sys.exit(f"kill9.py has no row for {', '.join(without)}: add one to VERBS")
    wanted = sys.argv[2:] or [verb for verb in VERBS if verb in training]
    absent = ", ".join(sorted(set(VERBS) - training)) or "none"
    print(f"covered: {', '.join(wanted)}; not in this program: {absent}", flush=True)
    for verb in wanted:
        setattr(Kills, f"test_{verb}", covered(verb))
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromTestCase(Kills))
    sys.exit(0 if result.wasSuccessful() and result.testsRun == len(wanted) else 1)


if __name__ == "__main__":
    main()
