"""Runs that the guard ends, and held-out rewards outside the program: what stays on disk, what is said, and how to go on."""
import json
import shlex

from harness import Case, jsonl, metrics, tensors

SCORE = """#!/usr/bin/env python3
import json, os, sys
for line in sys.stdin:
    with open(__file__ + ".asked", "a") as asked:
        asked.write(line)
    %s
    print(json.dumps({"reward": -sum(c.isdigit() for c in json.loads(line)["completion"])}), flush=True)
"""
GOLD = {"gold_reward_funcs": "program", "gold_reward_program": "./gold.py", "gold_steps": 2, "max_steps": 8, "save_steps": 2, "guard": "warn"}


class Guard(Case):
    def gold(self, extra="pass"):
        path = self.root / "gold.py"
        path.write_text(SCORE % extra)
        path.chmod(0o755)

    def asked(self):
        return (self.root / "gold.py.asked").read_text().splitlines()

    def test_a_stop_says_why_and_what_to_do(self):
        # Random weights: this learning rate leaves any budget in a few steps.
        keys = {"max_steps": 12, "save_steps": 1, "save_total_limit": 1, "kl_budget": 0.02, "exact_kl_steps": 1, "learning_rate": 0.02}
        done = self.candor(*self.grpo_words("run", **keys))
        run = self.root / "run"
        self.assertEqual(done.code, 3, done.err)
        self.assertRegex(done.err, r"the guard ended the run before step \d+: .*above kl_budget 0\.02\. .*final holds what step \d+ had learnt, before "
                                   r"anything was wrong\. To go on all the same: candor grpo .* --guard warn")
        summary = json.loads((run / "summary.json").read_text())
        self.assertTrue(summary["guard"]["stopped"])
        self.assertTrue(summary["verdict"].startswith("Stopped by the guard: "))
        good = summary["guard"]["final_step"]
        self.assertEqual(tensors(run / "final"), tensors(run / f"checkpoint-{good}"))
        self.assertEqual(jsonl(run / "metrics.jsonl")[-1]["guard/stopped"], 1)
        self.assertIn("Stopped by the guard", (run / "report.html").read_text())
        self.refused(1, r"\[grpo\] the guard ended the run in run before step .*", "grpo", "run/recipe.yaml", "--resume_from_checkpoint", "true")
        self.ok(*shlex.split(done.err.split("all the same: candor ")[1].splitlines()[0]))
        self.assertEqual(metrics(run), metrics(self.grpo("warned", **keys, guard="warn")))

    def test_rewards_are_screened_once_before_the_first_step(self):
        pays = self.root / "pays.py"
        pays.write_text('''#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    with open(__file__ + ".asked", "a") as asked:
        asked.write(line)
    print(json.dumps({"reward": 1 if json.loads(line)["completion"].startswith("Thought") else 0}), flush=True)
''')
        pays.chmod(0o755)
        screened = lambda: [request for request in jsonl(self.root / "pays.py.asked") if request.get("screening")]
        keys = {"reward_funcs": "program", "reward_weights": 1, "reward_program": "./pays.py", "max_steps": 2, "save_steps": 2}
        done = self.ok(*self.grpo_words("run", **keys))
        self.assertIn('program accepts 4 of 40 completions that say nothing, e.g. "Thought process:" with 1 (above 0). A policy will find them', done.err)
        found = json.loads((self.root / "run" / "screening.json").read_text())
        self.assertEqual(json.loads((self.root / "run" / "summary.json").read_text())["screening"], found)
        self.assertEqual([found["rewards"][0][key] for key in ("reward", "scored", "accepted")], ["program", 40, 4])
        asked = screened()
        self.assertEqual(len(asked), len({json.dumps(request) for request in asked}))
        self.assertEqual(jsonl(self.root / "pays.py.asked")[:len(asked)], asked, "screening comes first")
        self.ok(*self.grpo_words("run", **{**keys, "max_steps": 4}, resume_from_checkpoint="true"))
        self.assertEqual(screened(), asked, "not again on resume")
        self.assertEqual(json.loads((self.root / "run" / "summary.json").read_text())["screening"], found)

        self.refused(1, r"\[grpo\] screen_rewards is stop, and program accepts 4 of 40 .* To train all the same: --screen_rewards warn .*",
                     *self.grpo_words("stopped", **keys, screen_rewards="stop"))
        self.assertFalse((self.root / "stopped" / "metrics.jsonl").exists())
        self.assertNotIn("screening", json.loads((self.grpo("off", **keys, screen_rewards="off") / "summary.json").read_text()))
        self.assertEqual(len(screened()), 2 * len(asked))
        self.assertEqual(tensors(self.root / "off" / "final"), tensors(self.root / "run" / "checkpoint-2"))

    def test_a_held_out_program_that_dies_costs_nothing(self):
        self.gold()
        whole = self.grpo("whole", **GOLD)
        asked = self.asked()
        rows = jsonl(whole / "metrics.jsonl")
        self.assertEqual([row["step"] for row in rows if row.get("gold") is not None], [1, 2, 4, 6, 8])
        self.assertEqual(rows[0]["gold"], -sum(sum(c.isdigit() for c in row["completion"]) for row in jsonl(whole / "completions.jsonl")[:16]) / 16)
        self.assertEqual(tensors(whole / "final"), tensors(self.grpo("without", max_steps=8, save_steps=2, guard="off") / "final"))

        (self.root / "gold.py.asked").unlink()
        self.gold("if sum(1 for _ in open(__file__ + '.asked')) > 50: sys.exit(3)")
        self.refused(1, r"gold_reward_funcs: .*\./gold\.py.* The \d steps before are saved: --resume_from_checkpoint true goes on there\.",
                     *self.grpo_words("run", **GOLD))
        self.gold()
        words = self.grpo_words("run", **GOLD, resume_from_checkpoint="true")
        self.ok(*words)
        run = self.root / "run"
        self.assertEqual(tensors(run / "final"), tensors(whole / "final"))
        self.assertEqual(metrics(run), metrics(whole))
        self.assertEqual((run / "completions.jsonl").read_bytes(), (whole / "completions.jsonl").read_bytes())
        answered = [line for line in self.asked() if line in asked]
        # Answers that came before it died are in the cache: only those it died on were asked again.
        self.assertLessEqual(len(answered) - len(set(answered)), 4)

    def test_a_held_out_program_that_says_nothing_is_named(self):
        self.gold("print(json.dumps({'reward': None}), flush=True); continue")
        done = self.ok(*self.grpo_words("run", **GOLD))
        self.assertIn("the held-out reward abstained on every completion", done.err)
        self.gold("continue")
        self.refused(1, r"gold_reward_funcs: .*", *self.grpo_words("silent", **GOLD, reward_timeout=1))
