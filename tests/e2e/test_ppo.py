"""candor ppo: what it writes, that it goes on with the same bytes, and that it learns on the project's own small model."""
import json
import re
import sys
import subprocess
import unittest

from harness import Case, RECIPE, flags, jsonl, kill, steps_done, tensors, wait_for, write_rows
from test_recipes import documented_names
from test_tiny_model import TINY

KEYS = {**{key: RECIPE[key] for key in ("learning_rate", "lora_r", "lora_alpha", "reward_funcs", "reward_weights", "format_regex", "seed",
                                        "threads", "logging_steps")},
        "max_steps": 10, "per_device_train_batch_size": 16, "num_ppo_epochs": 2, "num_mini_batches": 2, "response_length": 8,
        "temperature": 1.0, "missing_eos_penalty": 0.5, "adaptive_kl": "true", "kl_target": 0.1, "vf_coef": 0.5, "save_steps": 3}


class Ppo(Case):
    def words(self, output_dir, **more):
        return ["ppo", *flags({"model_name_or_path": self.model, "dataset_name": self.data, **KEYS, "output_dir": output_dir, **more})]

    def run_of(self, output_dir, **more):
        self.ok(*self.words(output_dir, **more))
        return self.root / output_dir

    def assert_same_run(self, run, whole):
        self.assert_same_result(run, whole)
        self.assertEqual(tensors(run / "critic"), tensors(whole / "critic"))
        for checkpoint in whole.glob("checkpoint-*"):
            for file in ("critic.safetensors", "ppo_state.json"):
                self.assertEqual((run / checkpoint.name / file).read_bytes(), (checkpoint / file).read_bytes(), f"{checkpoint.name}/{file}")

    def test_writes_what_is_documented(self):
        run = self.run_of("run")
        rows = jsonl(run / "metrics.jsonl")
        known = re.compile("|".join(documented_names()))
        self.assertEqual([row["step"] for row in rows], list(range(1, 11)))
        self.assertEqual([key for row in rows for key in row if not known.fullmatch(key)], [], "not in docs/metrics.md")
        self.assertEqual({row["sampling/max_abs_logprob_gap"] for row in rows}, {0})
        # 16 completions, 2 mini-batches, 2 epochs: 4 steps to a generation.
        self.assertEqual([row["episode"] for row in rows], [16] * 4 + [32] * 4 + [48] * 2)
        self.assertEqual([row["val/ratio"] == 1 for row in rows], [i % 4 == 0 for i in range(10)])
        sampled = jsonl(run / "completions.jsonl")
        self.assertEqual([row["step"] for row in sampled], [1] * 16 + [5] * 16 + [9] * 16)
        ended = [row["finish_reason"] == "stop" for row in sampled[:16]]
        self.assertEqual(rows[0]["val/num_eos_tokens"], sum(ended))
        mean = sum(row["reward"] - 0.5 * (not end) for row, end in zip(sampled, ended)) / 16
        self.assertAlmostEqual(rows[0]["objective/scores"], mean, places=12)
        self.assertEqual(json.loads((run / "critic" / "adapter_config.json").read_text())["modules_to_save"], ["score"])
        self.assertIn("ppo", (run / "report.html").read_text())

    def test_repeats_and_goes_on_with_the_same_bytes(self):
        whole = self.run_of("whole")
        run = self.run_of("speed", threads=2, micro_batch_tokens=1, generation_rows=3)
        self.assert_same_run(run, whole)
        for _ in range(20):  # one that reaches its end before a kill is thrown away
            words = self.words("killed", resume_from_checkpoint="auto")
            for goal in (2, 6):  # in the middle of the first and of the second generation
                process = self.start(*words)
                if not (wait_for(process, lambda g=goal: steps_done(self.root / "killed") >= g) and kill(process)):
                    break
            else:
                self.ok(*words)
                self.assert_same_run(self.root / "killed", whole)
                return
            subprocess.run(["rm", "-rf", str(self.root / "killed")], check=True)
        self.fail("every run ended before it could be killed")

    def test_a_further_run_takes_policy_and_critic(self):
        first = self.run_of("first")
        second = self.run_of("second", adapter_name_or_path=first / "final", value_model_path=first / "critic")
        fresh = self.run_of("fresh", adapter_name_or_path=first / "final")
        self.assertNotEqual(tensors(second / "final"), tensors(fresh / "final"))
        value = [jsonl(run / "metrics.jsonl")[0]["loss/value_avg"] for run in (second, fresh)]
        self.assertLess(value[0], value[1])  # a critic that has learned is nearer than one that has not
        self.refused(1, r"\[value_model_path\] .*first/final has no score head: it is the adapter of a language model\. .*",
                     *self.words("refused", value_model_path=first / "final"))
        self.assertFalse((self.root / "refused").exists())

    def reward_model(self, name, seed):
        """A model that likes digits; the folder that holds it, from where the program runs."""
        rows = [{"prompt": [{"role": "user", "content": f"{n % 5} + {n % 4}?"}], "chosen": [{"role": "assistant", "content": str(n % 10)}],
                 "rejected": [{"role": "assistant", "content": "abcdefghij"[n % 10]}]} for n in range(40)]
        pairs = write_rows(self.root / "pairs.jsonl", rows)
        self.ok("reward", *flags({"model_name_or_path": self.model, "dataset_name": pairs, "output_dir": name, "max_steps": 20, "lora_r": 4,
                                  "learning_rate": 0.01, "per_device_train_batch_size": 8, "seed": seed, "threads": 1}))
        self.assertGreater(jsonl(self.root / name / "metrics.jsonl")[-1]["accuracy"], 0.9)
        return f"{name}/final"

    def test_learned_rewards(self):
        models = [self.reward_model(f"rm{seed}", seed) for seed in (1, 2, 3)]
        learned = {"reward_funcs": "reward_model", "reward_weights": 1.0, "temperature": 1.0}
        one = self.run_of("one", **learned, reward_model_path=models[0])
        self.assertIn("rewards/reward_model/mean", jsonl(one / "metrics.jsonl")[0])
        mean, worst = (self.run_of(kind, **learned, reward_model_path=",".join(models), reward_ensemble=kind) for kind in ("mean", "min"))
        rewards = {run.name: [row["reward"] for row in jsonl(run / "completions.jsonl")[:16]] for run in (one, mean, worst)}
        for low, middle in zip(rewards["min"], rewards["mean"]):  # of the first generation, which is the same in all
            self.assertLess(low, middle)
        alone = [[row["reward"] for row in jsonl(self.run_of(f"alone{i}", **learned, reward_model_path=path, max_steps=1) / "completions.jsonl")]
                 for i, path in enumerate(models)]
        for i, scores in enumerate(zip(*alone)):
            self.assertAlmostEqual(rewards["mean"][i], sum(scores) / 3, places=12)
            self.assertEqual(rewards["min"][i], min(scores))
        # GRPO takes the same folder as one of its rewards, under the name of its run.
        run = self.grpo("grpo", reward_funcs=f"accuracy,{models[0]}", reward_weights="1.0,0.1", max_steps=2)
        self.assertIn("rewards/rm1/mean", jsonl(run / "metrics.jsonl")[0])
        plan = json.loads(self.ok("plan", *self.words("planned", **learned, reward_model_path=",".join(models)), "--json").out)
        self.assertIn("rewards", [phase["phase"] for phase in plan["phases"]])
        # It is what they like that the policy learns: digits.
        more = self.run_of("more", **{**learned, "max_steps": 40, "kl_coef": 0.0, "adaptive_kl": "false"}, reward_model_path=models[0])
        digits = [row["completion"].isdigit() for row in jsonl(more / "completions.jsonl")]
        self.assertGreater(sum(digits[-32:]), sum(digits[:32]))

    def test_learns_the_digit_sums_of_the_small_model(self):
        subprocess.run([sys.executable, TINY / "generate.py", self.root], check=True)
        self.ok("quickstart", "--offline", "--max_steps", 1, "--output_dir", "data_of")  # which writes the rows
        rows = sorted((self.root / "data_of" / "data").glob("*.jsonl"))
        held_out, train = (next(path for path in rows if part in path.name) for part in ("held_out", "train"))
        self.ok("ppo", *flags({"model_name_or_path": TINY, "dataset_name": train, "eval_dataset": held_out, "output_dir": "run", "max_steps": 40,
                               "per_device_train_batch_size": 64, "num_generations": 8, "num_ppo_epochs": 2, "max_completion_length": 14,
                               "temperature": 1.0, "learning_rate": 1e-3, "lr_scheduler_type": "constant", "reward_funcs": "accuracy",
                               "vf_coef": 0.5, "lora_r": 16, "lora_alpha": 32, "save_steps": 40}))
        greedy = json.loads((self.root / "run" / "summary.json").read_text())["evaluations"]["greedy"]
        self.assertGreater(greedy["after"]["correct"], greedy["before"]["correct"] + 20)
        self.assertLess(greedy["mcnemar"]["p"], 1e-4)


if __name__ == "__main__":
    unittest.main()
