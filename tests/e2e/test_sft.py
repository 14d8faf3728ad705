"""candor sft: an adapter and all weights, every row accounted for, and a run that was killed is the run that was not."""
import json
import random
import unittest

from harness import Case, flags, jsonl, kill, metrics, state, steps_done, wait_for, write_rows

RECIPE = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01, "max_length": 64, "seed": 7, "threads": 1,
          "logging_steps": 1, "save_steps": 2, "eval_steps": 2, "load_best_model_at_end": "true"}
LORA = {"lora_r": 4, "lora_alpha": 8}


def questions(numbers):
    return [{"prompt": [{"role": "user", "content": f"What is {i} + 1?"}], "completion": [{"role": "assistant", "content": str(i + 1)}]}
            for i in numbers]


class Sft(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rows = write_rows(cls.shared / "sft.jsonl", questions(range(20)))
        cls.eval_rows = write_rows(cls.shared / "sft_held_out.jsonl", questions(range(20, 28)))

    def words(self, output_dir, **keys):
        given = {"model_name_or_path": self.model, "dataset_name": self.rows, "eval_dataset": self.eval_rows, **RECIPE,
                 "output_dir": output_dir, **keys}
        return ["sft", *flags(given)]

    def assert_same(self, run, other, weights):
        self.assertEqual((run / "final" / weights).read_bytes(), (other / "final" / weights).read_bytes())
        self.assertEqual(metrics(run), metrics(other))
        names = sorted(path.name for path in other.glob("checkpoint-*"))
        self.assertEqual(sorted(path.name for path in run.glob("checkpoint-*")), names)
        for name in names:
            self.assertEqual(state(run / name), state(other / name))

    def test_the_loss_falls_and_the_summary_says_so(self):
        for keys, weights in ((LORA, "adapter_model.safetensors"), ({}, "model.safetensors")):
            with self.subTest(weights):
                run = self.root / ("run_" + weights)
                summary = json.loads(self.ok(*self.words(run, **keys), "--json").out)
                self.assertTrue((run / "final" / weights).exists())
                self.assertTrue((run / "report.html").exists())
                loss = summary["evaluations"]["loss"]
                self.assertLess(loss["after"], loss["before"])
                self.assertIn("better", summary["verdict"])
                self.assertEqual(summary["rows"]["train"]["kept"], 20)
                rows = jsonl(run / "metrics.jsonl")
                self.assertEqual([row["step"] for row in rows if "eval_loss" in row], [2, 4, 6])
                # What final/ holds is what was measured last.
                adapter = ["--adapter", run / "final"] if keys else []
                model = self.model if keys else run / "final"
                scored = self.ok("score", model, self.eval_rows, *adapter).rows()
                nll = sum(row["nll"] for row in scored) / sum(row["tokens"] for row in scored)
                self.assertAlmostEqual(nll, loss["after"], places=5)  # printed in float32's digits

    def test_killed_and_taken_up_again(self):
        for keys, weights in ((LORA, "adapter_model.safetensors"), ({}, "model.safetensors")):
            with self.subTest(weights):
                whole, run = self.root / ("whole_" + weights), self.root / ("killed_" + weights)
                self.ok(*self.words(whole, **keys))
                rng = random.Random(3)
                for _ in range(3):
                    process = self.start(*self.words(run, resume_from_checkpoint="auto", **keys))
                    goal = min(steps_done(run) + rng.randint(1, 2), 5)
                    wait_for(process, lambda: steps_done(run) >= goal)
                    kill(process)
                self.ok(*self.words(run, resume_from_checkpoint="auto", **keys))
                self.assert_same(run, whole, weights)

    def test_every_row_is_accounted_for(self):
        rows = write_rows(self.root / "rows.jsonl", [{"prompt": "ab " * 60, "completion": "c"}, {"prompt": "a ", "completion": "b " * 60},
                                                     {"prompt": "a ", "completion": "b"}])
        run = self.root / "run"
        words = self.words(run, dataset_name=rows, eval_dataset=rows, max_steps=1, max_length=16, **LORA)
        summary = json.loads(self.ok(*words, "--json").out)
        train = summary["rows"]["train"]
        self.assertEqual((train["rows"], train["kept"]), (3, 2))
        self.assertEqual(sorted(fate["first"] for fate in train["fates"]), [[1], [2]])


if __name__ == "__main__":
    unittest.main()
