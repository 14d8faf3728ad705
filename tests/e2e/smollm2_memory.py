"""Plans of the default model, where 24 MiB are not everything: what smollm2.py runs beside its own tests.

Every recipe in every dtype takes minutes and comes with CANDOR_E2E_LONG=1, and so does a row of 8,192 tokens.
"""
import json
import os
import pathlib
import unittest

from harness import Case, flags, write_rows
from planned import DTYPES, MIB, Planned, recipes

LONG = unittest.skipUnless(os.environ.get("CANDOR_E2E_LONG"), "takes minutes; CANDOR_E2E_LONG=1 runs it")
PLAY = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "tinyshakespeare.txt"


def tests(model):
    class Smollm2Memory(Planned, Case):
        stop_id = 2

        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            cls.model = str(model)

        def setUp(self):
            super().setUp()
            self.write_planned_rows(4)

        def test_one_of_each(self):
            cases = recipes("bfloat16")
            for name, dtype in (("dora", "int8"), ("grpo_kl", "blocks")):
                with self.subTest(f"{name} {dtype}"):
                    verb, keys = cases[name]
                    self.measured_run(name, self.words_of(verb, keys, dtype=dtype))
            self.measured_generation("int4")

        @LONG
        def test_every_recipe_and_dtype(self):
            for dtype in DTYPES:
                for name, (verb, keys) in recipes(dtype).items():
                    with self.subTest(f"{name} {dtype}"):
                        summary = self.measured_run(f"{name}_{dtype}", self.words_of(verb, keys, dtype=dtype))
                        report(f"{name} {dtype}", summary)
                with self.subTest(f"generate and score {dtype}"):
                    self.measured_generation(dtype, rows=32)

        @LONG
        def test_a_row_of_8192_tokens(self):
            if not PLAY.exists():
                self.skipTest(f"{PLAY} is absent")
            rows = write_rows(self.root / "long.jsonl", [{"text": PLAY.read_text(encoding="utf-8")[:40000]}])
            for dtype in ("float32", "bfloat16"):
                with self.subTest(dtype):
                    words = flags({"model_name_or_path": self.model, "dataset_name": rows, "max_length": 8192, "lora_r": 16, "max_steps": 2,
                                   "per_device_train_batch_size": 1, "dtype": dtype})
                    summary = self.measured_run(dtype, ["sft", *words])
                    report(f"8192 tokens, {dtype}", summary)
                    self.assertEqual(summary["num_tokens"], 2 * 8192)
                    self.assertLess(summary["peak_bytes"], 2_000_000_000)

        @LONG
        def test_long_completions(self):
            # So hot that no row ends early, with a KL, since few are right, and a second generation beside the first one's activations: the
            # worst that the plan counts with does happen. By default that is not the longest batch, whose layers are computed once more, but the
            # largest of which all layers fit the 1 GiB for them: groups of 384 tokens come near it, groups of 1,024 are far beyond.
            for tokens, recompute in ((1024, "true"), (384, "auto")):
                with self.subTest(f"{tokens} tokens, gradient_checkpointing {recompute}"):
                    words = self.words_of("grpo", {"max_completion_length": tokens, "per_device_train_batch_size": 8, "lora_r": 16, "temperature": 20, "beta": 0.1,
                                                   "max_steps": 2, "gradient_checkpointing": recompute}, dtype="bfloat16")
                    summary = self.measured_run(f"long_{tokens}", words)
                    report(f"GRPO, {tokens} tokens", summary)
                    self.assertLess(summary["peak_bytes"], 2_000_000_000)

    return Smollm2Memory


def report(what, summary):
    print(json.dumps({"what": what, "planned_mib": round(summary["planned_bytes"] / MIB, 1), "measured_mib": round(summary["peak_anonymous_bytes"] / MIB, 1),
                      "peak_mib": round(summary["peak_bytes"] / MIB, 1), "phase": summary["memory"]["peak_phase"],
                      "step_time_s": round(summary["step_time_s"], 1)}), flush=True)
