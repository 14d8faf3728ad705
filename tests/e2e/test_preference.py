"""candor dpo, cpo, orpo, kto, reward and prm: what they leave, what they refuse, and a run that was killed is the run that was not."""
import json
import math
import random
import re

from harness import Case, flags, jsonl, kill, metrics, state, steps_done, tensors, wait_for, write_rows
from test_recipes import documented_names

RECIPE = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01, "max_length": 64, "seed": 7, "threads": 1,
          "logging_steps": 1, "save_steps": 2, "eval_steps": 2, "lora_r": 4, "lora_alpha": 8}
VERBS = {"dpo": {}, "cpo": {"loss_type": "simpo"}, "orpo": {}, "kto": {}, "reward": {"center_rewards_coefficient": 0.01}}


def message(role, content):
    return [{"role": role, "content": content}]


def pairs(numbers):
    return [{"prompt": message("user", f"What is {i} + 1?"), "chosen": message("assistant", str(i + 1)),
             "rejected": message("assistant", "no idea")} for i in numbers]


class Preference(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rows = write_rows(cls.shared / "pairs.jsonl", pairs(range(20)))
        cls.eval_rows = write_rows(cls.shared / "pairs_held_out.jsonl", pairs(range(20, 28)))

    def words(self, verb, output_dir, **keys):
        given = {"model_name_or_path": self.model, "dataset_name": self.rows, "eval_dataset": self.eval_rows, **RECIPE,
                 **VERBS[verb], "output_dir": output_dir, **keys}
        return [verb, *flags({key: value for key, value in given.items() if value is not None})]

    def test_what_a_run_leaves(self):
        known = re.compile("(eval_)?(" + "|".join(documented_names()) + ")")
        for verb in VERBS:
            with self.subTest(verb):
                run = self.root / verb
                summary = json.loads(self.ok(*self.words(verb, run), "--json").out)
                self.assertTrue((run / "report.html").exists())
                rows = jsonl(run / "metrics.jsonl")
                self.assertEqual([row["step"] for row in rows if "eval_loss" in row], [2, 4, 6])
                for row in rows:
                    for key, value in row.items():
                        self.assertTrue(known.fullmatch(key), f"{key} is not defined in docs/metrics.md")
                        if value is None:  # no correlation of lengths that are all the same
                            self.assertEqual(key, "guard/margin_length_correlation")
                            continue
                        self.assertTrue(math.isfinite(value), f"{key} is {value}")
                found = summary["evaluations"]["preference"]
                self.assertEqual(found["rows"], 16 if verb == "kto" else 8)
                side = "chosen" if verb == "orpo" else "margin"  # six steps of ORPO raise the likelihood first
                self.assertGreater(found[side]["interval"][0], 0)
                self.assertAlmostEqual(found["margin"]["after"], found["chosen"]["after"] - found["rejected"]["after"], places=9)
                self.assertEqual(summary["rows"]["train"]["kept"], 40 if verb == "kto" else 20)
                self.assertIn("use_it" if verb == "reward" else "talk_to_it", summary)
                self.assertGreaterEqual(summary["planned_bytes"], summary["buffers"][0]["peak_bytes"])

    def test_held_out_rows_are_measured_as_score_measures_them(self):
        run = self.root / "run"
        summary = json.loads(self.ok(*self.words("dpo", run), "--json").out)
        chosen = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs(range(20, 28))]
        given = "".join(json.dumps(row) + "\n" for row in chosen)
        for when, adapter in (("before", []), ("after", ["--adapter", run / "final"])):
            scored = self.ok("score", self.model, "-", *adapter, stdin=given).rows()
            mean = -sum(row["nll"] for row in scored) / len(scored)
            self.assertAlmostEqual(summary["evaluations"]["preference"]["chosen"][when], mean, places=4)  # float32's digits

    def test_a_reward_model_scores_rows(self):
        run = self.root / "run"
        summary = json.loads(self.ok(*self.words("reward", run), "--json").out)
        for side in ("chosen", "rejected"):
            given = "".join(json.dumps({"messages": row["prompt"] + row[side]}) + "\n" for row in pairs(range(20, 28)))
            scored = self.ok("score", self.model, "-", "--adapter", run / "final", stdin=given).rows()
            mean = sum(row["reward"] for row in scored) / len(scored)
            self.assertAlmostEqual(summary["evaluations"]["preference"][side]["after"], mean, places=6)  # float32's digits
        self.assertIn(f"--adapter {run / 'final'}", self.ok("inspect", run / "final").out)
        self.refused(1, r"\[adapter\] the adapter holds a trained copy of score\.weight .*", "generate", self.model, "-",
                     "--adapter", run / "final", stdin='{"prompt": "a"}\n')

    def test_plain_text_is_scored_as_it_was_trained(self):
        rows = [{"prompt": f"{i} + 1 = ", "chosen": str(i + 1), "rejected": "no idea"} for i in range(8)]
        run, data = self.root / "run", write_rows(self.root / "plain.jsonl", rows)
        summary = json.loads(self.ok(*self.words("reward", run, dataset_name=data, eval_dataset=data, max_steps=2), "--json").out)
        adapter = ["--adapter", run / "final"]
        for side in ("chosen", "rejected"):
            apart = [{"prompt": row["prompt"], "completion": row[side]} for row in rows]
            whole = [{"text": row["prompt"] + row[side]} for row in rows]
            for given in (apart, whole):
                scored = self.ok("score", self.model, "-", *adapter, stdin="".join(json.dumps(row) + "\n" for row in given)).rows()
                mean = sum(row["reward"] for row in scored) / len(scored)
                self.assertAlmostEqual(summary["evaluations"]["preference"][side]["after"], mean, places=6)  # float32's digits
        text = json.dumps({"text": "1 + 1 = 2"})
        (with_head,), (alone,) = (self.ok("score", self.model, "-", *flags, stdin=text).rows() for flags in (adapter, []))
        self.assertEqual(with_head["input_ids"][:-1], alone["input_ids"])  # a language model reads what it is given

    def gold_keys(self):
        """A verifier and a reward model together are asked about the held-out pairs."""
        judge = self.root / "judge"
        self.ok(*self.words("reward", judge, max_steps=2))
        rows = [{**row, "answer": row["chosen"][0]["content"]} for row in pairs(range(20, 28))]
        return {"eval_dataset": write_rows(self.root / "answers.jsonl", rows), "gold_reward_funcs": f"accuracy,{judge / 'final'}",
                "gold_accuracy_extraction": "exact", "gold_steps": 2}

    def test_a_held_out_reward_judges_what_the_policy_prefers(self):
        gold = self.gold_keys()
        known = re.compile("(eval_)?(" + "|".join(documented_names()) + ")")
        for verb in ("dpo", "cpo", "orpo"):
            with self.subTest(verb):
                run, without = self.root / verb, self.root / f"{verb}_without"
                self.ok(*self.words(verb, run, **gold))
                self.ok(*self.words(verb, without, eval_dataset=gold["eval_dataset"]))
                self.assertEqual(tensors(run / "final"), tensors(without / "final"))
                rows = jsonl(run / "metrics.jsonl")
                self.assertEqual([row["step"] for row in rows if "gold" in row], [1, 2, 4, 6])
                self.assertTrue(all(known.fullmatch(key) for row in rows for key in row))
                # Six steps teach every pair's order, and its labels are the verifier's.
                self.assertEqual(rows[5]["gold/agreement"], 1)
                self.assertGreater(rows[5]["gold/own_reward"], rows[0]["gold/own_reward"])
                guard = json.loads((run / "summary.json").read_text())["guard"]
                self.assertIn("held-out reward of what the policy prefers", guard["sentence"])
                self.assertNotIn("gold_falls", self.ok("guard", "inspect", run).out)
                self.assertIn("gold_falls (gold)", self.ok("guard", "inspect", without).out)
        planned = self.ok("plan", *self.words("dpo", self.root / "planned", **gold)).out
        self.assertIn("held-out reward", planned)

    def test_a_held_out_reward_that_cannot_judge_is_named_before_the_first_step(self):
        gold = self.gold_keys()
        run = self.root / "run"
        self.refused(1, r"\[accuracy\] \S*pairs_held_out\.jsonl row 1: .*", *self.words("dpo", run, **{**gold, "eval_dataset": self.eval_rows}))
        self.refused(1, r"\[gold_reward_funcs\] .*nowhere.*", *self.words("dpo", run, **{**gold, "gold_reward_funcs": "./nowhere"}))
        silent = write_rows(self.root / "silent.jsonl", [{**row, "answer": None} for row in pairs(range(20, 28))])
        self.refused(1, r"\[gold_reward_funcs\] the held-out reward abstained on a side of every one of the 8 pairs of \S*silent\.jsonl, .*",
                     *self.words("dpo", run, **{**gold, "eval_dataset": silent, "gold_reward_funcs": "accuracy"}))
        self.assertFalse((run / "metrics.jsonl").exists())

    def test_killed_and_taken_up_again(self):
        gold = {**self.gold_keys(), "guard_control_steps": 3}
        for verb in VERBS:
            with self.subTest(verb):
                whole, run = self.root / f"whole_{verb}", self.root / f"killed_{verb}"
                keys = gold if verb in ("dpo", "cpo", "orpo") else {}
                self.ok(*self.words(verb, whole, **keys))
                rng = random.Random(3)
                for _ in range(2):
                    process = self.start(*self.words(verb, run, resume_from_checkpoint="auto", **keys))
                    goal = min(steps_done(run) + rng.randint(1, 2), 5)
                    wait_for(process, lambda: steps_done(run) >= goal)
                    kill(process)
                self.ok(*self.words(verb, run, resume_from_checkpoint="auto", **keys))
                self.assertEqual(tensors(run / "final"), tensors(whole / "final"))
                self.assertEqual(metrics(run), metrics(whole))
                for path in whole.glob("checkpoint-*"):
                    self.assertEqual(state(run / path.name), state(path))

    def test_every_weight_by_dpo(self):
        run = self.root / "run"
        keys = {"lora_r": None, "lora_alpha": None, "learning_rate": 0.001}
        summary = json.loads(self.ok(*self.words("dpo", run, **keys), "--json").out)
        self.assertTrue((run / "final" / "model.safetensors").exists())
        self.assertGreater(summary["evaluations"]["preference"]["margin"]["difference"], 0)
        self.assertEqual(jsonl(run / "metrics.jsonl")[0]["rewards/accuracies"], 0)  # policy and reference are one: ties

    def test_the_plan_is_the_runs(self):
        for verb in VERBS:
            with self.subTest(verb):
                words = self.words(verb, self.root / verb)[1:]
                plan = json.loads(self.ok("plan", verb, *words, "--json").out)
                self.assertTrue(plan["fits"])
                summary = json.loads(self.ok(verb, *words, "--json").out)
                # Beside the engine's buffers there are the program's pages, which differ a little from start to start.
                self.assertAlmostEqual(plan["peak_bytes"], summary["planned_bytes"], delta=4 << 20)
                self.refused(2, rf"\[{verb}\] this run needs .*", verb, *words, "--overwrite_output_dir", "true", "--max_memory", "1MB")

    def test_bad_rows_are_named(self):
        same = write_rows(self.root / "same.jsonl", [*pairs([1]), {"prompt": "a", "chosen": "b", "rejected": "b"}])
        for verb in ("dpo", "cpo", "orpo", "reward"):
            self.refused(1, rf'\[{verb}\] .*same\.jsonl row 2: "chosen" and "rejected" are the same \d+ tokens: there is nothing to prefer\.',
                         *self.words(verb, self.root / "run", dataset_name=same))
        self.refused(1, r'\[dpo\] .*row 1: "chosen" is empty after truncation to 8 tokens\. Raise max_length or drop the row\.',
                     *self.words("dpo", self.root / "run", max_length=8))
        kind = write_rows(self.root / "kind.jsonl", [{"prompt": "a", "completion": "b", "label": True}] * 4)
        self.refused(1, r'\[kto\] .*every "label" is true\. What is wanted can only be told from what is not: give rows of both kinds\.',
                     *self.words("kto", self.root / "run", dataset_name=kind))
        self.assertFalse((self.root / "run").exists())

    def test_dropped_rows_are_counted(self):
        same = write_rows(self.root / "same.jsonl", [*pairs(range(8)), {"prompt": "a", "chosen": "b", "rejected": "b"}])
        words = self.words("dpo", self.root / "run", dataset_name=same, bad_rows="drop", max_steps=1)
        train = json.loads(self.ok(*words, "--json").out)["rows"]["train"]
        self.assertEqual((train["rows"], train["kept"], train["fates"][0]["first"]), (9, 8, [9]))

    def test_a_resume_with_a_changed_recipe_is_refused(self):
        run = self.root / "run"
        self.ok(*self.words("dpo", run, max_steps=2))
        done = self.candor(*self.words("dpo", run, beta=0.5, resume_from_checkpoint="true"))
        self.assertEqual(done.code, 2)
        self.assertIn("beta", done.err)

    def test_process_reward_models(self):
        def solutions(numbers):
            return [{"prompt": f"{i} + 1?", "completions": ["count on", str(i + 1) if right else "no"], "labels": [True, right]}
                    for i in numbers for right in (True, False)]
        data = write_rows(self.root / "steps.jsonl", solutions(range(10)))
        held_out = write_rows(self.root / "held_out.jsonl", solutions(range(10, 14)))
        run = self.root / "run"
        given = {"model_name_or_path": self.model, "dataset_name": data, "eval_dataset": held_out, **RECIPE, "output_dir": run}
        summary = json.loads(self.ok("prm", *flags(given), "--json").out)
        self.assertEqual(summary["evaluations"]["steps"]["after"]["total"], 16)
        self.assertLess(summary["evaluations"]["preference"]["loss"]["difference"], 0)
        self.assertEqual(summary["rows"]["train"]["counted_tokens"], 40)
        self.assertEqual(json.loads((run / "final" / "adapter_config.json").read_text())["task_type"], "TOKEN_CLS")
        self.assertTrue(json.loads(self.ok("plan", "prm", *flags(given), "--json").out)["fits"])
        self.assertIn("PEFT loads it as a token classifier", self.ok("inspect", run / "final").out)
