"""What a run of `candor grpo` trains on and writes, under the keys that change its result."""
import json
import math
import pathlib
import re

import tiny_model
from harness import Case, jsonl, metrics, tensors, write_rows

DOCUMENTED = pathlib.Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def documented_names():
    """Names in the first column of the tables of docs/metrics.md, as expressions; NAME stands for a reward's."""
    names = re.findall(r"^\| `([^`]+)`", DOCUMENTED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.escape(name).replace("NAME", r"[a-z_]+") for name in names]


class Recipes(Case):
    def checked(self, name, **keys):
        """A run whose every step has no gap, whole numbers where they belong and only documented metrics."""
        run = self.grpo(name, **keys)
        known = re.compile("|".join(documented_names()))
        rows = jsonl(run / "metrics.jsonl")
        self.assertEqual([row["step"] for row in rows], list(range(1, len(rows) + 1)))
        for row in rows:
            self.assertEqual(row["sampling/max_abs_logprob_gap"], 0)
            for key, value in row.items():
                self.assertTrue(known.fullmatch(key), f"{key} is not defined in docs/metrics.md")
                self.assertTrue(value is None or math.isfinite(value), f"{key} is {value}")
        return run, rows

    def test_loss_types_and_scalings_train_differently(self):
        results = {}
        for keys in ({"loss_type": "grpo"}, {"loss_type": "dr_grpo"}, {"loss_type": "dapo"}, {"scale_rewards": "batch"},
                     {"scale_rewards": "none"}, {"multi_objective_aggregation": "normalize_then_sum"},
                     {"use_rslora": "true"}, {"use_dora": "true"}, {"init_lora_weights": "gaussian"}, {"init_lora_weights": "pissa"},
                     {"loraplus_lr_ratio": 4}, {"lora_target_modules": "q_proj,v_proj"}, {"seed": 8}, {"top_k": 20},
                     {"temperature": 0.7}, {"reward_weights": "1.0,0.0"}, {"weight_decay": 0.1}):
            name = "_".join(f"{key}-{value}" for key, value in keys.items())
            run, _ = self.checked(name, **keys)
            results[name] = tensors(run / "final")
        default, _ = self.checked("default")
        self.assertEqual(results.pop("loss_type-dapo"), tensors(default / "final"), "dapo is the default")
        self.assertEqual(len(set(results.values()) | {tensors(default / "final")}), len(results) + 1)

    def test_scale_rewards_has_trls_other_names(self):
        for name, value in (("group", "true"), ("none", "false")):
            self.assertEqual(tensors(self.grpo(f"n_{name}", scale_rewards=name) / "final"),
                             tensors(self.grpo(f"v_{name}", scale_rewards=value) / "final"))

    def test_kl(self):
        runs = {}
        for name, keys in {"off": {}, "k3": {"beta": 0.1}, "k3_plain": {"beta": 0.1, "use_bias_correction_kl": "false"},
                           "k2": {"beta": 0.1, "kl_estimator": "k2"},
                           "reward": {"beta": 0.1, "kl_placement": "reward"}}.items():
            runs[name] = self.checked(name, **keys)
        self.assertNotIn("kl", runs["off"][1][0])
        for name in ("k3", "k3_plain", "k2", "reward"):
            rows = runs[name][1]
            for estimator in ("kl_k1", "kl_k2", "kl_k3"):
                # B is 0 at the start: the policy is the reference, bit for bit.
                self.assertEqual(rows[0][estimator], 0, f"{name} {estimator}")
                self.assertNotEqual(rows[-1][estimator], 0, f"{name} {estimator}")
            self.assertGreaterEqual(rows[-1]["kl_k3"], 0)
        self.assertEqual(runs["k2"][1][-1]["kl"], runs["k2"][1][-1]["kl_k2"])
        self.assertEqual(runs["k3_plain"][1][-1]["kl"], runs["k3_plain"][1][-1]["kl_k3"])
        # While the ratio is 1, the corrected k3 has the gradient of k2; the others differ.
        others = {tensors(run / "final") for name, (run, _) in runs.items() if name != "k3"}
        self.assertEqual(len(others), len(runs) - 1)

    def test_strong_kl_keeps_the_policy_near(self):
        free, held = (self.checked(f"beta{beta}", beta=beta, max_steps=10, kl_estimator="k2")[1] for beta in (1e-9, 5.0))
        self.assertLess(held[-1]["kl_k2"], 0.2 * free[-1]["kl_k2"])

    def test_rewards_are_weighted(self):
        run, rows = self.checked("run", reward_funcs="accuracy,format,length,overlong", reward_weights="1.0,0.5,0.25,2.0",
                                 length_target=4, overlong_cache=3)
        completions = jsonl(run / "completions.jsonl")
        self.assertEqual(len(completions), 4 * 16)
        for row in completions:
            parts = row["rewards"]
            self.assertAlmostEqual(row["reward"], parts["accuracy"] + 0.5 * parts["format"] + 0.25 * parts["length"] +
                                   2 * parts["overlong"], places=12)
        for step in (1, 4):
            mine = [row for row in completions if row["step"] == step]
            for name in ("accuracy", "format", "length", "overlong"):
                mean = sum(row["rewards"][name] for row in mine) / len(mine)
                self.assertAlmostEqual(rows[step - 1][f"rewards/{name}/mean"], mean, places=12)
            self.assertAlmostEqual(rows[step - 1]["reward"], sum(row["reward"] for row in mine) / len(mine), places=12)
            for group in range(0, len(mine), 4):
                self.assertEqual(len({row["prompt"] for row in mine[group:group + 4]}), 1)
                self.assertAlmostEqual(sum(row["advantage"] for row in mine[group:group + 4]), 0, places=9)

    def test_learning_raises_the_reward(self):
        _, rows = self.checked("run", max_steps=40, learning_rate=0.02, reward_funcs="length", reward_weights="1.0",
                               length_target=3, save_steps=100)
        first, last = (sum(row["reward"] for row in part) / 5 for part in (rows[:5], rows[-5:]))
        self.assertGreater(last, first + 0.1)

    def test_a_row_without_answer_abstains(self):
        data = write_rows(self.root / "some.jsonl",
                          [{"prompt": "1 + 1 =", "answer": "2"}, {"prompt": "hello", "answer": None}] * 4)
        run, rows = self.checked("run", dataset_name=data, max_steps=3)
        completions = jsonl(run / "completions.jsonl")
        for row in completions:
            self.assertEqual(row["rewards"]["accuracy"] is None, row["prompt"] == "hello")
            self.assertIsNotNone(row["rewards"]["format"])
        scored = [row["rewards"]["accuracy"] for row in completions if row["step"] == 1 and row["prompt"] != "hello"]
        self.assertAlmostEqual(rows[0]["rewards/accuracy/mean"], sum(scored) / len(scored), places=12)

    def test_evaluation_while_training(self):
        run, rows = self.checked("run", eval_dataset=self.held_out, eval_steps=2, max_steps=5)
        self.assertEqual([row["step"] for row in rows if "eval/accuracy_greedy" in row], [2, 4, 5])
        self.assertEqual([row["step"] for row in rows if "eval/accuracy_sampled" in row], [2, 4, 5])
        summary = json.loads((run / "summary.json").read_text())
        for name in ("greedy", "sampled"):
            self.assertEqual(summary["evaluations"][name]["after"]["accuracy"], rows[-1][f"eval/accuracy_{name}"])
        plain = self.grpo("plain", max_steps=5)
        self.assertEqual(tensors(run / "final"), tensors(plain / "final"), "evaluating changes nothing")

    def test_summary_and_page(self):
        run, rows = self.checked("run", eval_dataset=self.held_out)
        summary = json.loads((run / "summary.json").read_text())
        for key in ("candor_version", "command", "recipe", "seed", "machine", "started", "steps", "num_tokens", "step_time_s",
                    "seconds", "peak_bytes", "buffers", "evaluations", "verdict", "talk_to_it"):
            self.assertIn(key, summary)
        self.assertEqual((summary["steps"], summary["num_tokens"]), (4, rows[-1]["num_tokens"]))
        self.assertIn("<!doctype html>", (run / "report.html").read_text()[:200].lower())
        printed = json.loads(self.ok(*self.grpo_words("json"), "--json").out)
        self.assertEqual(printed["steps"], 4)

    def test_start_from_an_adapter(self):
        first = self.grpo("first")
        second, _ = self.checked("second", adapter_name_or_path=first / "final", beta=0.1)
        self.assertNotEqual(tensors(first / "final"), tensors(second / "final"))
        rows = jsonl(second / "metrics.jsonl")
        self.assertNotEqual(rows[0]["kl_k2"], 0, "the reference is the base, which the first run has left")
        kept, _ = self.checked("kept", adapter_name_or_path=first / "final", learning_rate=0)
        self.assertEqual(tensors(first / "final"), tensors(kept / "final"))

    def test_no_learning_rate_changes_nothing(self):
        one, _ = self.checked("one", learning_rate=0, max_steps=1)
        many, _ = self.checked("many", learning_rate=0)
        self.assertEqual(tensors(one / "final"), tensors(many / "final"))

    def test_groups_without_spread_move_nothing(self):
        """No completion matches the pattern, so every reward is 0; the gap is measured all the same."""
        run, rows = self.checked("run", reward_funcs="format", reward_weights="1.0", format_regex="never this")
        self.assertTrue(all(row["frac_reward_zero_std"] == 1 and row["grad_norm"] == 0 for row in rows))

    def test_recipe_of_a_run_reproduces_it(self):
        run = self.grpo("run", beta=0.02, overwrite_output_dir="true", stop="a b")
        self.ok("grpo", run / "recipe.yaml", "--output_dir", "again")
        self.assert_same_result(self.root / "again", run)
        changed = set((run / "recipe.yaml").read_text().splitlines()) ^ set((self.root / "again" / "recipe.yaml").read_text()
                                                                          .splitlines())
        self.assertEqual({line.split(":")[0] for line in changed}, {"output_dir"})

    def test_yaml_and_flags_mean_the_same(self):
        (self.root / "r.yaml").write_text(
            f"model_name_or_path: {self.model}\ndataset_name: {self.data}\nmax_steps: 4\nper_device_train_batch_size: 8\n"
            "gradient_accumulation_steps: 2\nnum_generations: 4\nmax_completion_length: 8\nlearning_rate: 1.0e-2\nlora_r: 4\n"
            "lora_alpha: 8\nreward_funcs: [accuracy, format]\nreward_weights: [1.0, 0.5]\nformat_regex: '[a-z0-9]+'\nseed: 9\n"
            "save_steps: 3\noutput_dir: from_file\n")
        self.ok("grpo", "r.yaml", "--seed", "7")
        self.assert_same_result(self.root / "from_file", self.grpo("from_flags"))

    def test_overwriting_leaves_strangers_files(self):
        run = self.grpo("run", max_steps=7, save_steps=2)
        (run / "notes.txt").write_text("mine")
        self.grpo("run", max_steps=4, overwrite_output_dir="true")
        self.assertEqual((run / "notes.txt").read_text(), "mine")
        self.assertEqual(len(metrics(run)), 4)
        self.assertEqual(sorted(path.name for path in run.glob("checkpoint-*")), ["checkpoint-3", "checkpoint-4"])

    def test_checkpoints_kept(self):
        run = self.grpo("run", max_steps=9, save_steps=2, save_total_limit=2)
        self.assertEqual(sorted(path.name for path in run.glob("checkpoint-*")), ["checkpoint-8", "checkpoint-9"])
        run = self.grpo("unsaved", save_strategy="no")
        self.assertEqual([path.name for path in run.glob("checkpoint-*")], ["checkpoint-4"])

    def test_shards_of_other_counts_sample_the_same(self):
        one, four = (self.checked(f"s{n}", gradient_shards=n)[0] for n in (1, 4))
        self.assertEqual(jsonl(one / "completions.jsonl")[0], jsonl(four / "completions.jsonl")[0])


class Quickstart(Case):
    def test_twice_the_same_bytes(self):
        words = ["quickstart", "--model_name_or_path", self.model, "--max_steps", "2", "--per_device_train_batch_size", "16",
                 "--lora_r", "4", "--lora_alpha", "8", "--max_completion_length", "6"]
        for name in ("one", "two"):
            done = self.ok(*words, "--output_dir", name)
            self.assertIn("page", done.out)
        one, two = self.root / "one", self.root / "two"
        self.assertEqual(tensors(one / "final"), tensors(two / "final"))
        self.assertEqual((one / "completions.jsonl").read_bytes(), (two / "completions.jsonl").read_bytes())
        self.ok("grpo", one / "recipe.yaml", "--output_dir", "three")
        self.assertEqual(tensors(one / "final"), tensors(self.root / "three" / "final"))
        summary = json.loads((one / "summary.json").read_text())
        self.assertEqual(summary["evaluations"]["greedy"]["before"]["total"], 100)

    def test_a_refused_quickstart_leaves_nothing(self):
        self.refused(2, r"\[grpo\] per_device_train_batch_size 12 .*", "quickstart", "--model_name_or_path", self.model,
                     "--per_device_train_batch_size", 12)
        self.assertEqual(list(self.root.iterdir()), [])


class Places(Case):
    def test_a_copy_of_the_model(self):
        """Nothing of a run depends on where a model lies."""
        copy = tiny_model.write_model(self.root / "copy")
        here = self.grpo("here", model_name_or_path=copy)
        there = self.grpo("there")
        self.assertEqual(tensors(here / "final"), tensors(there / "final"))
