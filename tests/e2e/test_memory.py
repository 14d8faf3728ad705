"""The memory plan: right before anything is loaded, held against a limit, and the choice that follows changes no result."""
import json
import os
import pathlib
import time
import unittest

from harness import Case, flags, metrics, tensors, write_rows

MIB = 1 << 20
SFT = {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 0.01, "max_length": 64, "seed": 7, "threads": 2,
       "logging_steps": 1, "save_steps": 2}
LORA = {"lora_r": 4, "lora_alpha": 8}


def anonymous_bytes(process):
    try:
        for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    return 0


def peak_of(process):
    """The largest anonymous memory that the process was seen to hold until it ended."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process))
        time.sleep(0.002)
    return peak


class Memory(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        rows = [{"prompt": f"What is {i} + 1?", "completion": f" {i + 1}, as everybody knows who can count to {i}."} for i in range(12)]
        cls.rows = write_rows(cls.shared / "sft.jsonl", rows)

    def sft_words(self, output_dir, verb=("sft",), **keys):
        given = {"model_name_or_path": self.model, "dataset_name": self.rows, **SFT, "output_dir": output_dir, **keys}
        return [*verb, *flags(given)]

    def assert_planned(self, planned, measured):
        self.assertLess(abs(planned - measured), max(24 * MIB, 0.05 * planned), f"planned {planned / MIB:.1f} MiB, measured {measured / MIB:.1f} MiB")

    def measured_run(self, output_dir, words):
        """Runs a recipe, and holds its plan against what the system saw of it."""
        process = self.start(*words)
        seen = peak_of(process)
        self.assertEqual(process.returncode, 0, (self.root / "background.log").read_text())
        summary = json.loads((self.root / output_dir / "summary.json").read_text())
        self.assert_planned(summary["planned_bytes"], summary["peak_anonymous_bytes"])
        self.assert_planned(summary["planned_bytes"], max(seen, 1))
        self.assertEqual(sum(summary["memory"]["roles"].values()), summary["planned_bytes"])
        return summary

    @unittest.skipUnless(os.path.exists("/proc/self/status"), "needs /proc")
    def test_every_recipe_and_dtype_is_as_planned(self):
        for dtype in ("float32", "bfloat16"):
            with self.subTest(f"sft {dtype}"):
                for name, keys in (("lora", LORA), ("full", {})):
                    run = f"{name}_{dtype}"
                    summary = self.measured_run(run, self.sft_words(run, dtype=dtype, eval_dataset=self.rows, **keys))
                    plan = json.loads(self.ok(*self.sft_words(run, verb=("plan", "sft"), dtype=dtype, eval_dataset=self.rows, **keys), "--json").out)
                    self.assertLess(abs(plan["peak_bytes"] - summary["planned_bytes"]), 2 * MIB)
            with self.subTest(f"grpo {dtype}"):
                run = f"grpo_{dtype}"
                self.measured_run(run, self.grpo_words(run, dtype=dtype, beta=0.1, eval_dataset=self.held_out))
        with self.subTest("pretrain"):
            self.measured_run("new", ["pretrain", *flags({"dataset_name": self.rows, "output_dir": "new", "max_steps": 2, "vocab_size": 300,
                                                          "hidden_size": 32, "num_hidden_layers": 2, "max_length": 32, "threads": 1})])

    def test_a_plan_names_every_buffer(self):
        plan = json.loads(self.ok(*self.sft_words("run", verb=("plan",), **LORA), "--json").out)
        self.assertEqual(plan["recipe"], "sft")
        self.assertTrue(plan["fits"])
        self.assertEqual(plan["peak_bytes"], sum(buffer["bytes"] for buffer in plan["buffers"]))
        self.assertEqual(plan["peak_bytes"], max(phase["bytes"] for phase in plan["phases"]))
        for role in ("weights", "adapters", "gradients", "optimizer", "activations", "kv cache", "head", "workspace", "program"):
            self.assertGreater(plan["roles"][role], 0, role)
        self.assertFalse((self.root / "run").exists())  # nothing is written
        table = self.ok(*self.sft_words("run", verb=("plan",), **LORA)).out
        self.assertRegex(table, r"peak .* \(training\), of .*: fits")

    def test_the_keys_tell_the_recipe(self):
        recipe = self.root / "recipe.yaml"
        recipe.write_text(f"model_name_or_path: {self.model}\nreward_funcs: [accuracy]\nuse_peft: true\n")
        plan = json.loads(self.ok("plan", recipe, "--json", "--per_device_train_batch_size", 8).out)
        self.assertEqual(plan["recipe"], "grpo")
        self.assertIn("generation", [phase["phase"] for phase in plan["phases"]])
        plan = json.loads(self.ok("plan", "--num_hidden_layers", 3, "--json").out)
        self.assertEqual(plan["recipe"], "pretrain")

    def test_a_bare_config_of_any_llama(self):
        config = self.root / "config.json"
        shapes = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                  "vocab_size": 128256, "max_position_embeddings": 8192, "torch_dtype": "bfloat16", "rms_norm_eps": 1e-5}
        for family in ("llama", "mistral", "qwen2"):
            config.write_text(json.dumps({"model_type": family, **shapes}))
            plan = json.loads(self.ok("plan", "sft", "--model", config, "--max_memory", "900GB", "--json", *flags(LORA)).out)
            parameters = 2 * 128256 * 4096 + 32 * (4096 * (4096 + 1024) * 2 + 3 * 4096 * 14336)
            self.assertAlmostEqual(plan["roles"]["weights"] / (2 * parameters), 1, places=2)
            self.assertIn("max_length", " ".join(plan["notes"]))
        config.write_text(json.dumps({"model_type": "mixtral", **shapes}))
        self.refused(1, r".*config.json\] model_type \"mixtral\" is not supported yet: llama and .*", "plan", "sft", "--model", config)
        config.write_text(json.dumps({"model_type": "llama", "hidden_size": 64}))
        self.refused(1, r".*config.json\] has no \"intermediate_size\"\.", "plan", "sft", "--model", config)
        config.write_text(json.dumps({"model_type": "llama", **shapes, "num_hidden_layers": 10**9}))
        self.refused(1, r".*num_hidden_layers is 1000000000; a number from 1 to 4096 is expected\.", "plan", "sft", "--model", config)
        for key in ("hidden_size", "intermediate_size", "vocab_size", "num_attention_heads"):
            config.write_text(json.dumps({"model_type": "llama", **shapes, "head_dim": 128, key: 2**63 - 1}))
            self.assertEqual(self.candor("plan", "sft", "--model", config).code, 1, key)
        config.write_text(json.dumps({"model_type": "llama", **shapes, "hidden_size": 1 << 20, "intermediate_size": 1 << 22, "head_dim": 1 << 14,
                                      "num_attention_heads": 1 << 14, "num_key_value_heads": 1 << 14, "num_hidden_layers": 4096}))
        self.assertIn(self.candor("plan", "sft", "--model", config, "--max_length", 2**24).code, (1, 2))

    def test_what_does_not_fit_is_refused_before_it_begins(self):
        done = self.candor(*self.sft_words("run", max_memory="1MB"))
        self.assertEqual(done.code, 2, done.err)
        self.assertRegex(done.err, r"\[sft\] this run needs .* of memory at its peak \(training: .*\), and there is .* \(max_memory\)\.")
        self.assertFalse((self.root / "run").exists())
        self.assertEqual(self.candor(*self.sft_words("run", verb=("plan", "sft"), max_memory="1MB")).code, 2)
        self.refused(2, r"\[sft\] max_memory: \"lots\" is no amount of memory\. Write it as 8GB, 8GiB, 800MB or a number of bytes\.",
                     *self.sft_words("run", max_memory="lots"))

    def test_the_micro_batch_is_the_largest_that_fits_and_changes_no_result(self):
        whole = self.measured_run("whole", self.sft_words("whole", per_device_train_batch_size=12, gradient_shards=1, **LORA))
        plans = [json.loads(self.ok(*self.sft_words("x", verb=("plan", "sft"), per_device_train_batch_size=12, gradient_shards=1, micro_batch_tokens=n, **LORA), "--json").out)
                 for n in (256, 64)]
        self.assertGreater(plans[0]["peak_bytes"], plans[1]["peak_bytes"] + MIB // 4)
        limit = (3 * plans[0]["peak_bytes"] + plans[1]["peak_bytes"]) // 4
        tight = self.measured_run("tight", self.sft_words("tight", per_device_train_batch_size=12, gradient_shards=1, max_memory=limit, **LORA))
        self.assertEqual(whole["memory"]["micro_batch_tokens"], 256)
        self.assertLess(tight["memory"]["micro_batch_tokens"], 256)
        self.assertEqual(metrics(self.root / "whole"), metrics(self.root / "tight"))
        self.assertEqual(tensors(self.root / "whole" / "final"), tensors(self.root / "tight" / "final"))

    def test_advice_is_true(self):
        """Each change that a refusal offers, taken, fits."""
        words = self.sft_words("x", verb=("plan", "sft"), model_name_or_path="tiny", max_length=256, lora_r=64, lora_modules_to_save="lm_head")
        free = json.loads(self.ok(*words, "--json").out)
        limit = free["peak_bytes"] * 19 // 20
        refused = self.candor(*words, "--json", "--max_memory", limit)
        self.assertEqual(refused.code, 2)
        changes = json.loads(refused.out)["changes"]
        self.assertTrue(changes)
        for change in changes:
            self.assertLessEqual(change["peak_bytes"], limit)

    def test_inference(self):
        for verb in ("generate", "chat", "score"):
            plan = json.loads(self.ok("plan", verb, self.model, "--json").out)
            self.assertGreater(plan["roles"]["weights"], 0)
        self.assertEqual(self.candor("plan", "generate", self.model, "--max_memory", "1MB").code, 2)


if __name__ == "__main__":
    unittest.main()
