"""What stands around a run: TensorBoard's curves, the index of runs, one process to a folder."""
import math
import os
import sys
import unittest

from harness import Case, jsonl, wait_for, steps_done


def event_accumulator(folder):
    """TensorBoard's own reader; it may be installed beside the tests (CANDOR_TENSORBOARD names the folder)."""
    if "CANDOR_TENSORBOARD" in os.environ:
        sys.path.insert(0, os.environ["CANDOR_TENSORBOARD"])
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as absent:
        raise unittest.SkipTest(f"TensorBoard is not installed: {absent}")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


class TensorBoard(Case):
    def assert_curves_are_the_metrics(self, run):
        events = event_accumulator(run)
        rows = jsonl(run / "metrics.jsonl")
        names = {name for row in rows for name in row if name != "step"}
        self.assertEqual(set(events.Tags()["scalars"]), {n if n.startswith("eval/") else f"train/{n}" for n in names})
        for name in names:
            tag = name if name.startswith("eval/") else f"train/{name}"
            curve = [(event.step, event.value) for event in events.Scalars(tag)]
            expected = [(row["step"], row[name]) for row in rows if name in row]
            self.assertEqual([step for step, _ in curve], [step for step, _ in expected], name)
            for (_, value), (_, wanted) in zip(curve, expected):
                # Event files hold float32; null in metrics.jsonl is NaN.
                if wanted is None:
                    self.assertTrue(math.isnan(value), name)
                else:
                    self.assertAlmostEqual(value, wanted, delta=abs(wanted) * 2**-23, msg=name)

    def test_reads_every_metric_of_every_step(self):
        run = self.grpo("run", eval_dataset=self.held_out, eval_steps=2)
        self.assert_curves_are_the_metrics(run)

    def test_a_resumed_run_has_no_step_twice(self):
        run = self.grpo("run", max_steps=4, save_steps=2)
        self.grpo("run", max_steps=6, save_steps=2, resume_from_checkpoint="true")
        self.assertEqual([row["step"] for row in jsonl(run / "metrics.jsonl")], [1, 2, 3, 4, 5, 6])
        self.assert_curves_are_the_metrics(run)

    def test_overwriting_begins_new_curves(self):
        run = self.grpo("run", max_steps=4)
        self.grpo("run", max_steps=2, overwrite_output_dir="true")
        self.assertEqual(len(list(run.glob("events.out.tfevents.*"))), 1)
        self.assert_curves_are_the_metrics(run)

    def test_logging_steps_thins_the_curves_only(self):
        run = self.grpo("run", max_steps=5, logging_steps=3)
        self.assertEqual(len(jsonl(run / "metrics.jsonl")), 5)
        self.assertEqual([event.step for event in event_accumulator(run).Scalars("train/loss")], [1, 3, 5])


class Runs(Case):
    def test_every_run_is_listed(self):
        self.grpo("first")
        self.grpo("second", learning_rate=0.02)
        listed = self.ok("runs", "list", "--json").rows()[0]
        self.assertEqual([(run["name"], run["verb"], run["state"], run["step"]) for run in listed],
                         [("first", "grpo", "finished", 4), ("second", "grpo", "finished", 4)])
        compared = self.ok("runs", "compare", "first", "second", "--json").rows()[0]
        self.assertEqual(compared["recipe_differences"], {"learning_rate": ["0.01", "0.02"]})
        self.ok("runs", "delete", "first", "--yes")
        self.assertFalse((self.root / "first").exists())

    def test_a_folder_takes_one_process(self):
        process = self.start(*self.grpo_words("run", max_steps=100000))
        run = self.root / "run"
        self.assertTrue(wait_for(process, lambda: steps_done(run) >= 1))
        self.assertEqual(self.ok("runs", "show", "run", "--json").rows()[0]["state"], "running")
        self.refused(2, r"\[output_dir\] another process works in run\. Wait for it, stop it, or choose another output_dir\.",
                     *self.grpo_words("run", resume_from_checkpoint="auto"))
        self.refused(1, r"\[runs\] /.*/run is running\. Stop it first \(Ctrl-C in its terminal\)\.", "runs", "delete", "run", "--yes")
        self.assertTrue(run.is_dir())
        process.kill()
        process.wait()
        self.assertEqual(self.ok("runs", "show", "run", "--json").rows()[0]["state"], "unfinished")

    def test_an_index_that_cannot_be_written_stops_no_run(self):
        (self.root / "data").write_text("in the way")
        done = self.ok(*self.grpo_words("run"))
        self.assertIn("the run is not in the index of runs: ", done.err)
        self.assertTrue((self.root / "run" / "summary.json").is_file())


class BestModel(Case):
    def test_final_is_the_best_evaluated_checkpoint(self):
        run = self.grpo("run", eval_dataset=self.held_out, max_steps=6, eval_steps=1, save_steps=1, save_total_limit=1, learning_rate=0.05,
                        load_best_model_at_end="true", metric_for_best_model="accuracy_sampled")
        scores = [row["eval/accuracy_sampled"] for row in jsonl(run / "metrics.jsonl")]
        best = scores.index(max(scores)) + 1
        self.assertIn(f"checkpoint-{best}", [path.name for path in run.glob("checkpoint-*")])
        self.assertEqual((run / "final" / "adapter_model.safetensors").read_bytes(),
                         (run / f"checkpoint-{best}" / "adapter_model.safetensors").read_bytes())

    def test_without_evaluations_there_is_no_best(self):
        self.refused(2, r"\[grpo\] load_best_model_at_end needs evaluations to choose from\. Give eval_dataset and eval_steps\.",
                     *self.grpo_words("run", load_best_model_at_end="true"))
