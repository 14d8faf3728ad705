"""Bad input: one clear message, the exit code, and nothing lost. What a folder held before, it holds after."""
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import unittest

import tiny_model
from harness import Case, jsonl, kill, metrics, tensors, wait_for, write_rows, write_sums


def everything_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


class Models(Case):
    """Every verb opens a model through the same door; score stands for them, grpo shows that no run is left behind."""

    def model_refused(self, message, model):
        rows = write_rows(self.root / "rows.jsonl", [{"text": "hello"}])
        self.refused(1, message, "score", model, rows)
        self.refused(1, message, *self.grpo_words("run", model_name_or_path=model))
        self.assertFalse((self.root / "run").exists())

    def copy(self, **changes):
        return tiny_model.write_model(self.root / "model", **changes)

    def test_missing_path(self):
        self.model_refused(r".*\./nowhere.*", "./nowhere")

    def test_missing_config(self):
        (self.copy() / "config.json").unlink()
        self.model_refused(r"\[.*model\] .*config\.json.*", self.root / "model")

    def test_missing_weights(self):
        (self.copy() / "model.safetensors").unlink()
        self.model_refused(r".*model\.safetensors.*", self.root / "model")

    def test_truncated_safetensors(self):
        path = self.copy() / "model.safetensors"
        os.truncate(path, path.stat().st_size // 2)
        self.model_refused(r"\[.*model\.safetensors\] .*bytes.*", self.root / "model")

    def test_truncated_header(self):
        os.truncate(self.copy() / "model.safetensors", 100)
        self.model_refused(r"\[.*model\.safetensors\] .*", self.root / "model")

    def test_truncated_gguf(self):
        path = self.root / "model.gguf"
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 5, 5))
        self.model_refused(r"\[.*model\.gguf\].*", path)

    def test_no_gguf(self):
        path = self.root / "model.gguf"
        path.write_bytes(b"not a model at all, but longer than a header")
        self.model_refused(r"\[.*model\.gguf\] .*GGUF.*", path)

    def test_config_says_another_width(self):
        folder = self.copy()
        (folder / "config.json").write_text(json.dumps(tiny_model.config(hidden_size=48)))
        self.model_refused(r"\[.*model\.safetensors\] .*weight.*32.*48.*|\[.*model\.safetensors\] .*weight.*48.*32.*", folder)

    def test_a_layer_is_missing(self):
        folder = self.copy()
        (folder / "config.json").write_text(json.dumps(tiny_model.config(num_hidden_layers=3)))
        self.model_refused(r".*model\.layers\.2\..*", folder)

    def test_unknown_architecture(self):
        folder = self.copy()
        (folder / "config.json").write_text(json.dumps(tiny_model.config(model_type="mamba", architectures=["MambaForCausalLM"])))
        self.model_refused(r"\[.*config\.json\] model_type \"mamba\" is unknown: llama, qwen2 and gpt2 are\..*", folder)

    def test_config_is_no_json(self):
        (self.copy() / "config.json").write_text("{")
        self.model_refused(r"\[.*config\.json\b.*", self.root / "model")

    def test_nan_weight(self):
        tensors_of = tiny_model.weights(tiny_model.config(), 1)
        tensors_of["model.layers.1.mlp.up_proj.weight"][1][5 * 32 + 3] = float("nan")
        tiny_model.write_safetensors(self.copy() / "model.safetensors", tensors_of)
        self.model_refused(r"\[.*model\.safetensors\] .*model\.layers\.1\.mlp\.up_proj\.weight.*row 5.*", self.root / "model")

    def test_no_tokenizer(self):
        (self.copy() / "tokenizer.json").unlink()
        self.model_refused(r".*tokenizer\.json.*", self.root / "model")

    def test_unknown_bundled_name(self):
        self.model_refused(r".*smolm2.*", "smolm2")


class Data(Case):
    def data_refused(self, message, rows, **keys):
        data = rows if not isinstance(rows, list) else write_rows(self.root / "rows.jsonl", rows)
        self.refused(1, message, *self.grpo_words("run", dataset_name=data, **keys))
        self.assertFalse((self.root / "run").exists())

    def test_missing_file(self):
        self.data_refused(r".*none\.jsonl.*", "none.jsonl")

    def test_no_json(self):
        path = self.root / "rows.jsonl"
        path.write_text('{"prompt": "a", "answer": "1"}\n{"prompt": \n')
        self.data_refused(r".*rows\.jsonl row 2: line 3, column 1: the file ends where a value was expected; is it cut off\?", path)

    def test_no_prompt(self):
        self.data_refused(r'\[grpo\] .*rows\.jsonl row 2: expected a column "prompt", got question, answer\. Rename the column '
                          r"that holds the prompt\.", [{"prompt": "a", "answer": "1"}, {"question": "b", "answer": "1"}])

    def test_no_answer(self):
        self.data_refused(r"\[accuracy\] .*rows\.jsonl row 2: .*answer.*", [{"prompt": "a", "answer": "1"}, {"prompt": "b"}])

    def test_prompt_longer_than_the_context(self):
        self.data_refused(r"\[grpo\] .*rows\.jsonl row 2: the prompt has 201 tokens, but the context of 128 leaves 120 beside "
                          r"max_completion_length 8\. Shorten or drop the row, or lower max_completion_length\.",
                          [{"prompt": "a", "answer": "1"}, {"prompt": "x" * 200, "answer": "1"}])

    def test_prompt_longer_than_its_own_bound(self):
        self.data_refused(r"\[grpo\] .*row 1: the prompt has 11 tokens, more than max_prompt_length 10\. .*",
                          [{"prompt": "x" * 10, "answer": "1"}], max_prompt_length=10)

    def test_completion_fills_the_context(self):
        self.data_refused(r"\[grpo\] max_completion_length 128 leaves no room for a prompt in the context of 128 tokens\..*",
                          [{"prompt": "x", "answer": "1"}], max_completion_length=128)

    def test_empty(self):
        for text in ("", "\n\n"):
            path = self.root / "rows.jsonl"
            path.write_text(text)
            self.data_refused(r".*rows\.jsonl: the file holds no rows\. Expected one JSON object per line\.", path)

    def test_template_that_raises(self):
        model = tiny_model.write_model(self.root / "model", template="{{ raise_exception('no roles, please') }}")
        self.data_refused(r"\[grpo\] .*sums\.jsonl row 1: .*no roles, please.*", self.data, model_name_or_path=model)

    def test_template_that_is_broken(self):
        model = tiny_model.write_model(self.root / "model", template="{% for m in messages %}")
        self.data_refused(r".*template.*", self.data, model_name_or_path=model)

    def test_no_template(self):
        model = tiny_model.write_model(self.root / "model")
        (model / "tokenizer_config.json").write_text("{}")
        self.data_refused(r"\[grpo\] .*row 1: .*no chat template.*", self.data, model_name_or_path=model)

    def test_eval_row_without_answer_is_found_before_training(self):
        held_out = write_rows(self.root / "held.jsonl", [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": None}])
        self.data_refused(r"\[eval\] .*held\.jsonl row 2: .*answer.*", self.data, eval_dataset=held_out)

    def test_no_layer_matches(self):
        self.data_refused(r"\[adapter\] lora_target_modules matches no linear layer of this model\. .*", self.data,
                          lora_target_modules="c_attn")


class Recipe(Case):
    def recipe_refused(self, message, **keys):
        self.refused(2, message, *self.grpo_words("run", **keys))
        self.assertFalse((self.root / "run").exists())

    def test_misspelt_key(self):
        self.recipe_refused(r'\[flag --num_generation\] unknown key "num_generation"\. Did you mean "num_generations"\? .*',
                            num_generation=4)

    def test_values(self):
        self.recipe_refused(r".*max_steps.*", max_steps="many")
        self.recipe_refused(r".*temperature.*", temperature=0)
        self.recipe_refused(r".*loss_type.*grop.*", loss_type="grop")
        self.recipe_refused(r".*num_generations.*", num_generations=1)
        self.recipe_refused(r".*lora_dropout.*", lora_dropout=0.1)
        self.recipe_refused(r".*reward_weights has 1 numbers for 2 reward_funcs\..*", reward_weights="1.0")
        self.recipe_refused(r".*learning_rate.*", learning_rate="nan")

    def test_regular_expression(self):
        self.refused(1, r"\[format\] .*", *self.grpo_words("run", format_regex="(["))
        self.assertFalse((self.root / "run").exists())


class Folders(Case):
    def test_a_run_is_not_written_over(self):
        run = self.grpo("run")
        before = everything_below(run)
        self.refused(2, r"\[output_dir\] run already holds a run\. .*--resume_from_checkpoint true.*", *self.grpo_words("run"))
        self.assertEqual(everything_below(run), before)

    def test_resume_with_another_recipe(self):
        run = self.grpo("run")
        before = everything_below(run)
        self.refused(2, r"\[resume\] learning_rate was 0\.01 when the run in run began and is 0\.1 now: .*",
                     *self.grpo_words("run", learning_rate=0.1, resume_from_checkpoint="auto"))
        self.assertEqual(everything_below(run), before)

    def test_resume_where_nothing_is(self):
        self.refused(2, r"\[resume\] run holds no complete checkpoint\. .*",
                     *self.grpo_words("run", resume_from_checkpoint="true"))
        self.assertFalse((self.root / "run").exists())

    def test_resume_on_other_prompts(self):
        data = write_sums(self.root / "sums.jsonl", range(16))
        run = self.grpo("run", dataset_name=data)
        before = everything_below(run)
        words = self.grpo_words("run", dataset_name=data, max_steps=6, resume_from_checkpoint="true")
        write_sums(data, range(1, 17))
        self.refused(1, r"\[resume\] run/checkpoint-4: the rows of dataset_name, .* are not those that the run began with: .*",
                     *words)
        self.assertEqual(everything_below(run), before)
        write_sums(data, range(16))
        self.ok(*words)

    def test_damaged_checkpoint(self):
        run = self.grpo("run")
        path = run / "checkpoint-4" / "optimizer.safetensors"
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        before = everything_below(run)
        self.refused(1, r"\[run/checkpoint-4/optimizer\.safetensors\] is damaged: its SHA-256 .*",
                     *self.grpo_words("run", max_steps=6, resume_from_checkpoint="true"))
        self.assertEqual(everything_below(run), before)
        # The message's way out.
        shutil.rmtree(run / "checkpoint-4")
        self.ok(*self.grpo_words("run", resume_from_checkpoint="true"))
        self.assertEqual(everything_below(run)["final/adapter_model.safetensors"], before["final/adapter_model.safetensors"])

    def test_output_is_a_file(self):
        (self.root / "run").write_text("mine")
        self.refused(2, r"\[output_dir\] run is a file, expected a folder\. .*", *self.grpo_words("run"))
        self.assertEqual((self.root / "run").read_text(), "mine")

    def test_unwritable(self):
        # Root may write anywhere but below /proc.
        self.refused(1, r"\[/proc/run.*\] .*", *self.grpo_words("/proc/run"))

    def test_adapter_that_is_missing(self):
        self.refused(1, r"\[nowhere.*\] .*", *self.grpo_words("run", adapter_name_or_path="nowhere"))
        self.assertFalse((self.root / "run").exists())
        rows = write_rows(self.root / "rows.jsonl", [{"text": "a"}])
        for verb in ("score", "generate", "eval"):
            self.refused(1, r"\[nowhere.*\] .*", verb, self.model, rows if verb != "eval" else self.held_out, "--adapter", "nowhere",
                         *([] if verb == "score" else ["--max_new_tokens", "4"]))

    def test_adapter_of_another_base(self):
        wide = tiny_model.write_model(self.root / "wide", hidden_size=48, head_dim=12)
        other = self.grpo("other", model_name_or_path=wide) / "final"
        self.refused(1, r"\[adapter\] model\.layers\.\d+\..*: the adapter was made for a layer of \d+ inputs and \d+ outputs, "
                     r"this model's has .*", *self.grpo_words("run", adapter_name_or_path=other))
        self.assertFalse((self.root / "run").exists())
        deep = tiny_model.write_model(self.root / "deep", num_hidden_layers=3)
        other = self.grpo("deeper", model_name_or_path=deep) / "final"
        self.refused(1, r"\[adapter\] the adapter changes model\.layers\.2\..*, which this model does not have: .*",
                     *self.grpo_words("run", adapter_name_or_path=other))


class FullDisk(Case):
    """A limit on the size of a file, and a file system that is full."""

    def test_file_size_limit(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))

        keys = {"max_steps": 60, "lora_r": 1, "lora_alpha": 2, "lora_target_modules": "q_proj", "save_steps": 2}
        done = self.candor(*self.grpo_words("run", **keys), limits=limit)
        self.assertEqual(done.code, 1, done.err)
        self.assertRegex(done.err, r"candor: \[run/completions\.jsonl\] cannot write: File too large\.")
        run = self.root / "run"
        step = max(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))
        self.assertGreater(step, 1)
        self.assertTrue((run / f"checkpoint-{step}" / "DONE").exists())
        self.ok(*self.grpo_words("run", **keys, resume_from_checkpoint="true"))
        self.assert_same_result(run, self.grpo("whole", **keys))

    def test_checkpoint_that_does_not_fit(self):
        """A checkpoint is written, then the limit falls below the adapter's size: the older one stands and is gone on from."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))

        keys = {"max_steps": 12, "save_steps": 3, "lora_r": 16}  # its matrices take 64 KiB
        words = self.grpo_words("run", **keys, resume_from_checkpoint="auto")
        process, run = self.start(*words), self.root / "run"
        wait_for(process, (run / "checkpoint-3").exists)
        kill(process)
        for late in (6, 9, 12):  # where the kill came late
            shutil.rmtree(run / f"checkpoint-{late}", ignore_errors=True)
        done = self.candor(*words, limits=limit)
        self.assertEqual(done.code, 1, done.err)
        self.assertRegex(done.err, r"candor: \[run/checkpoint-6\.tmp/adapter_model\.safetensors\] cannot write: File too large, "
                                   r"after 40000 bytes\.")
        self.assertEqual([path.name for path in run.glob("checkpoint-*")], ["checkpoint-3"])
        self.ok(*words)
        self.assert_same_result(run, self.grpo("whole", **keys))

    def test_full_file_system(self):
        disk = self.root / "disk"
        disk.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk],
                                               capture_output=True).returncode != 0:
            self.skipTest("mounting a small tmpfs takes root")
        self.addCleanup(subprocess.run, ["umount", disk], capture_output=True)
        keys = {"max_steps": 300, "save_steps": 5, "save_total_limit": 1}
        done = self.candor(*self.grpo_words("disk/run", **keys))
        self.assertEqual(done.code, 1, done.err)
        self.assertRegex(done.err, r"candor: \[disk/run/.*\] cannot (write|create|make).*: No space left on device(, after \d+ bytes)?\.")
        saved = sorted((disk / "run").glob("checkpoint-*"))
        self.assertTrue(saved and all((path / "DONE").exists() for path in saved), saved)
        rows = jsonl(disk / "run" / "metrics.jsonl")  # no torn row
        self.assertEqual([row["step"] for row in rows], list(range(1, len(rows) + 1)))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.ok(*self.grpo_words("disk/run", **keys, resume_from_checkpoint="true"))
        whole = self.grpo("whole", **keys)
        self.assertEqual(tensors(disk / "run" / "final"), tensors(whole / "final"))
        self.assertEqual(metrics(disk / "run"), metrics(whole))


class Rows(Case):
    """score, generate, eval, tokenize: the row is named, rows before it are not lost."""

    def rows(self, *rows):
        return write_rows(self.root / "rows.jsonl", rows)

    def test_ids_out_of_range(self):
        rows = self.rows({"input_ids": [1, 2]}, {"input_ids": [5, 999]})
        self.refused(1, r"\[.*rows\.jsonl row 2\] .*999.*281.*|\[.*rows\.jsonl row 2\] .*999.*282.*", "score", self.model, rows)
        self.refused(1, r"\[.*rows\.jsonl row 2\] .*999.*", "generate", self.model, rows, "--max_new_tokens", 2)
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*-1.*", "score", self.model, self.rows({"input_ids": [-1, 2]}))
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*4294967297.*", "score", self.model, self.rows({"input_ids": [4294967297]}))

    def test_longer_than_the_context(self):
        rows = self.rows({"text": "x"}, {"text": "x" * 200})
        self.refused(1, r"\[.*rows\.jsonl row 2\] 201 tokens do not fit the model's context of 128\. .*", "score", self.model, rows)
        self.refused(1, r"\[generate\] .*rows\.jsonl row 2: the prompt has 201 tokens, but the context of 128 leaves 124 .*",
                     "generate", self.model, rows, "--max_new_tokens", 4)
        rows = self.rows({"input_ids": [5] * 126})
        self.refused(1, r"\[.*rows\.jsonl row 1.*126 tokens.*128.*", "generate", self.model, rows, "--max_new_tokens", 4)
        rows = self.rows({"prompt": "x" * 200, "answer": "1"})
        self.refused(1, r"\[eval\] .*rows\.jsonl row 1: the prompt has 201 tokens.*", "eval", self.model, rows,
                     "--max_new_tokens", 4)

    def test_columns(self):
        rows = self.rows({"txt": "x"})
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*txt.*", "score", self.model, rows)
        self.refused(1, r"\[generate\] .*rows\.jsonl row 1: .*prompt.*txt.*", "generate", self.model, rows, "--max_new_tokens", 4)
        self.refused(1, r"\[.*rows\.jsonl row 1\b.*", "eval", self.model, rows, "--max_new_tokens", 4)
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*", "tokenize", self.model, rows)
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*", "score", self.model, self.rows({"prompt": "x"}))
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*", "score", self.model, self.rows({"messages": []}))
        self.refused(1, r"\[.*rows\.jsonl row 1\] .*", "score", self.model, self.rows({"messages": [{"content": "x"}]}))

    def test_options(self):
        rows = self.rows({"text": "x"})
        self.refused(2, r"MODEL is required\..*", "score")
        self.refused(2, r".*--max_new_tokens.*", "generate", self.model, rows, "--max_new_tokens", 0)
        self.refused(2, r'unknown option "--max_tokens"\..*', "generate", self.model, rows, "--max_tokens", 4)
        self.refused(1, r"\[generate\] max_completion_length 200 leaves no room .*", "generate", self.model, rows,
                     "--max_new_tokens", 200)

    def test_a_reader_that_stops(self):
        rows = write_sums(self.root / "many.jsonl", range(200))
        process = subprocess.Popen([os.environ["CANDOR_BINARY"], "generate", self.model, rows, "--max_new_tokens", "8"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        self.assertNotEqual(process.wait(60), 0)
        self.assertLess(len(process.stderr.read()), 500)
        process.stderr.close()


