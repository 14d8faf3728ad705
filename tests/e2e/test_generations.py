"""GRPO's generations: several steps on one, killed in the middle; dynamic sampling; every loss; an interrupted evaluation."""
import json
import pathlib
import re
import shutil
import signal
import unittest

from harness import Case, jsonl, kill, metrics, steps_done, tensors, wait_for, write_sums

METRICS = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
REUSED = {"max_steps": 10, "per_device_train_batch_size": 16, "num_iterations": 2, "steps_per_generation": 4, "save_steps": 3,
          "save_total_limit": 3, "beta": 0.02}


class Generations(Case):
    def killed(self, words, name, goals):
        """The folder of a run that was killed after so many steps, each time taken up again, and then ended."""
        run = self.root / name
        for _ in range(20):  # one that reaches its end before a kill is thrown away
            for goal in goals:
                process = self.start(*words)
                if not (wait_for(process, lambda g=goal: steps_done(run) >= g) and kill(process)):
                    shutil.rmtree(run)
                    break
            else:
                self.ok(*words)
                return run
        self.fail("every run ended before it could be killed")

    def test_one_generation_serves_several_steps(self):
        run = self.grpo("run", **REUSED)
        rows = jsonl(run / "metrics.jsonl")
        # 16 rows x 2 batches a step, 2 slices, 2 iterations: 4 steps to a generation.
        self.assertEqual([row["num_tokens"] for row in rows[:4]], [rows[0]["num_tokens"]] * 4)
        self.assertGreater(rows[4]["num_tokens"], rows[3]["num_tokens"])
        self.assertEqual([row["reward"] for row in rows[:4]], [rows[0]["reward"]] * 4)
        self.assertEqual([row["step"] for row in jsonl(run / "completions.jsonl")], [1] * 64 + [5] * 64 + [9] * 64)
        self.assertTrue(all(row["sampling/max_abs_logprob_gap"] == 0 for row in rows))
        self.assertTrue(any(row["clip_ratio/region_mean"] > 0 for row in rows))  # not on-policy any more
        self.assertEqual(rows[0]["clip_ratio/region_mean"], 0)
        # The first step of a generation is the step that a run without reuse would take.
        once = jsonl(self.grpo("once", **{**REUSED, "num_iterations": 1, "max_steps": 1, "warmup_steps": 0}) / "metrics.jsonl")
        self.assertEqual((once[0]["loss"], once[0]["grad_norm"]), (rows[0]["loss"], rows[0]["grad_norm"]))

    def test_killed_in_the_middle_of_a_generation(self):
        for name, more in {"plain": {},
                           "entropy": {"top_entropy_quantile": 0.4, "use_adaptive_entropy": "true", "entropy_target": 5.0},
                           "dynamic": {"dynamic_sampling": "true", "mask_truncated_completions": "true",
                                       "loss_type": "bnpo"}}.items():
            with self.subTest(name):
                keys = {**REUSED, **more}
                whole = self.grpo("whole" + name, **keys)
                run = self.killed(self.grpo_words("run" + name, **keys, resume_from_checkpoint="auto"), "run" + name, (3, 6))
                self.assert_same_result(run, whole)
                state = json.loads((run / "checkpoint-6" / "grpo_state.json").read_text())
                self.assertEqual(state["generation"]["uses"], 2)

    def test_speed_keys_keep_every_bit(self):
        for more in ({"top_entropy_quantile": 0.4, "entropy_coef": 0.01}, {"loss_type": "vespo"}):
            keys = {**REUSED, **more, "max_steps": 4}
            whole = self.grpo("whole" + str(len(more)), **keys)
            for i, speed in enumerate(({"threads": 2}, {"micro_batch_tokens": 1}, {"micro_batch_tokens": 100000})):
                self.assert_same_result(self.grpo(f"run{len(more)}{i}", **{**keys, **speed}), whole)

    def test_every_option_changes_the_result(self):
        base = {**REUSED, "max_steps": 4, "loss_type": "grpo"}
        results = {"base": tensors(self.grpo("base", **base) / "final")}
        for i, more in enumerate([
                *({"loss_type": name} for name in ("dapo", "dr_grpo", "bnpo", "luspo", "cispo", "sapo", "vespo", "gmpo")),
                {"importance_sampling_level": "sequence"}, {"epsilon": 0.001}, {"epsilon_high": 0.0001}, {"delta": 1.0001},
                {"mask_truncated_completions": "true"}, {"off_policy_mask_threshold": 0.0}, {"top_entropy_quantile": 0.5},
                {"entropy_coef": 0.01}, {"num_iterations": 1}, {"steps_per_generation": 2}, {"dynamic_sampling": "true"},
                {"min_p": 0.3}, {"repetition_penalty": 1.5}, {"loss_type": "sapo", "sapo_temperature_pos": 3}, {"loss_type": "vespo", "vespo_k_neg": 1}]):
            result = tensors(self.grpo(f"run{i}", **{**base, **more}) / "final")
            for other, bytes_of_other in results.items():
                self.assertNotEqual(result, bytes_of_other, f"{more} gives what {other} gives")
            results[json.dumps(more)] = result
            for name in jsonl(self.root / f"run{i}" / "metrics.jsonl")[-1]:
                page = re.sub(r"^rewards/\w+/", "rewards/NAME/", name)
                self.assertIn(f"`{page}`", METRICS, "a metric without its line in docs/metrics.md")

    def test_dynamic_sampling(self):
        keys = {"max_steps": 4, "per_device_train_batch_size": 16, "reward_funcs": "accuracy", "reward_weights": "1.0"}
        plain = jsonl(self.grpo("plain", **keys) / "metrics.jsonl")
        self.assertTrue(any(row["frac_reward_zero_std"] > 0 for row in plain))
        run = self.grpo("run", **keys, dynamic_sampling="true", dynamic_sampling_max_rounds=40)
        rows = jsonl(run / "metrics.jsonl")
        self.assertEqual([row["frac_reward_zero_std"] for row in rows], [0] * 4)
        self.assertTrue(all(row["dynamic_sampling/replaced_groups"] > 0 for row in rows))
        self.assertGreater(rows[-1]["epoch"], plain[-1]["epoch"])  # further prompts were taken
        by_group = [[r["reward"] for r in jsonl(run / "completions.jsonl")[i:i + 4]] for i in range(0, 128, 4)]
        self.assertTrue(all(len(set(rewards)) > 1 for rewards in by_group))
        # A limit on the rounds: filled up with what there is.
        rows = jsonl(self.grpo("short", **keys, dynamic_sampling="true", dynamic_sampling_max_rounds=1) / "metrics.jsonl")
        self.assertEqual([row["dynamic_sampling/rounds"] for row in rows], [1] * 4)
        self.assertEqual([row["reward"] for row in rows][0], plain[0]["reward"])

    def test_generation_keys(self):
        self.refused(2, r"\[grpo\] steps_per_generation 3 is not a multiple of gradient_accumulation_steps 2: .*",
                     *self.grpo_words("run", steps_per_generation=3))
        self.refused(2, r"\[grpo\] generation_batch_size 32 and steps_per_generation 4 are both given\. Remove one\.",
                     *self.grpo_words("run", steps_per_generation=4, generation_batch_size=32))
        self.refused(2, r"\[grpo\] generation_batch_size 12 is not a multiple of per_device_train_batch_size 8\.",
                     *self.grpo_words("run", generation_batch_size=12))
        one = self.grpo("one", generation_batch_size=32)
        self.assert_same_result(one, self.grpo("other", steps_per_generation=4))


class Evaluation(Case):
    def test_interrupted_inside_training_and_made_up_for(self):
        held_out = write_sums(self.root / "many.jsonl", range(600))
        keys = {"eval_dataset": held_out, "eval_steps": 2, "max_steps": 4}
        whole = self.grpo("whole", **keys)
        words = self.grpo_words("run", **keys)
        run = self.root / "run"
        process = self.start(*words)
        self.assertTrue(wait_for(process, lambda: steps_done(run) == 1 and completions(run) == 32))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        self.assertEqual(steps_done(run), 1)  # step 2 was trained, its row waits for the evaluation
        state = json.loads((run / "checkpoint-2" / "grpo_state.json").read_text())
        self.assertEqual(state["unfinished_row"]["step"], 2)
        self.ok(*words, "--resume_from_checkpoint", "true")
        self.assertEqual(tensors(run / "final"), tensors(whole / "final"))
        self.assertEqual(metrics(run), metrics(whole))
        self.assertEqual((run / "completions.jsonl").read_bytes(), (whole / "completions.jsonl").read_bytes())


def completions(run):
    """Whole rows of completions.jsonl."""
    try:
        return (run / "completions.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    unittest.main()
