"""A model in fewer bits: the file, what is said about it, what is refused."""
import json
import math
import pathlib
import resource
import signal
import struct

import tiny_model
from harness import Case, flags, state, write_rows

TINY = pathlib.Path(__file__).resolve().parent.parent.parent / "models" / "tiny"
TEXTS = [{"text": f"What is {n % 10} + {n % 7}? {n % 10} + {n % 7} = {n % 10 + n % 7}. Mira lives in Oslo, which is in Norway."}
         for n in range(60)]


class Quantize(Case):
    def quantize(self, output, *flags, model=TINY):
        return json.loads(self.ok("quantize", model, "--output", output, "--json", *flags).out)

    def logprobs(self, model):
        rows = write_rows(self.root / "rows.jsonl", TEXTS[:5])
        return [row["logprobs"][1:] for row in self.ok("score", model, rows, "--dtype", "float32").rows()]

    def test_the_types_in_their_order(self):
        texts = write_rows(self.root / "texts.jsonl", TEXTS)
        done = {name: self.quantize(f"{name}.gguf", "--type", name, "--method", "rtn", "--evaluate", texts)
                for name in ("f32", "bf16", "int8", "int4", "int3", "int2")}
        for name, json_ in done.items():
            size = (self.root / f"{name}.gguf").stat().st_size
            self.assertEqual(json_["bytes_after"], size)
            self.assertEqual(json_["simulated"], name in ("int3", "int2"))
            self.assertEqual(sum(entry["weights"] for entry in json_["types"].values()), 4 * 9 + 2)
        self.assertEqual(done["f32"]["evaluation"]["kl_nats"], 0)
        self.assertEqual(done["f32"]["largest_relative_error"]["error"], 0)
        kl = [entry["evaluation"]["kl_nats"] for entry in done.values()]
        self.assertEqual(kl, sorted(kl))
        self.assertLess(done["int8"]["bytes_after"], 0.3 * done["f32"]["bytes_after"])
        self.assertLess(done["int4"]["bytes_after"], 0.7 * done["int8"]["bytes_after"])
        int8 = done["int8"]["evaluation"]
        self.assertAlmostEqual(math.log(int8["perplexity_after"] / int8["perplexity_before"]), int8["difference_nats"], places=9)
        self.assertLessEqual(int8["kl_interval"][0], int8["kl_nats"])
        self.assertGreater(int8["same_choice"], 0.98)

    def test_a_float32_file_answers_with_the_same_bits(self):
        self.quantize("same.gguf", "--type", "f32")
        self.assertEqual(self.logprobs("same.gguf"), self.logprobs(TINY))
        chat = write_rows(self.root / "chat.jsonl", [{"messages": [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "2 + 3 = 5"}]}])
        self.assertEqual(self.ok("score", "same.gguf", chat, "--dtype", "float32").out, self.ok("score", TINY, chat, "--dtype", "float32").out)

    def test_int8_and_int4_in_memory_are_what_is_written(self):
        rows = write_rows(self.root / "rows.jsonl", TEXTS[:5])
        for kind in ("int8", "int4"):
            self.quantize(f"{kind}.gguf", "--type", kind, "--method", "rtn")
            self.assertEqual(self.ok("score", TINY, rows, "--dtype", kind).out, self.ok("score", f"{kind}.gguf", rows).out)

    def test_calibration_helps(self):
        texts, held_out = (write_rows(self.root / name, rows) for name, rows in (("a.jsonl", TEXTS[::2]), ("b.jsonl", TEXTS[1::2])))
        flags = ("--type", "q4_0", "--evaluate", held_out, "--embedding_type", "f32")
        kl = {name: self.quantize(f"{name}.gguf", *flags, *more)["evaluation"]["kl_nats"]
              for name, more in (("rtn", ["--method", "rtn"]), ("gptq", ["--method", "gptq", "--calibration", texts]))}
        self.assertLess(kl["gptq"], 0.8 * kl["rtn"])

    def test_without_text_the_model_writes_its_own_and_threads_change_nothing(self):
        flags = ("--type", "int4", "--method", "gptq", "--calibration_tokens", "512", "--calibration_length", "64")
        one = self.quantize("one.gguf", *flags, "--threads", "1")
        self.quantize("two.gguf", *flags, "--threads", "3")
        self.assertEqual(one["calibration_tokens"], 512)
        self.assertEqual((self.root / "one.gguf").read_bytes(), (self.root / "two.gguf").read_bytes())
        self.quantize("seed.gguf", *flags, "--seed", "1")
        self.assertNotEqual((self.root / "one.gguf").read_bytes(), (self.root / "seed.gguf").read_bytes())

    def test_a_written_file_is_a_source_too(self):
        self.quantize("first.gguf", "--type", "int8")
        again = self.quantize("second.gguf", "--type", "f32", model="first.gguf")
        self.assertEqual(again["largest_relative_error"]["error"], 0)
        self.assertEqual(self.logprobs("second.gguf"), self.logprobs("first.gguf"))

    def test_recipes_take_a_written_files_blocks(self):
        """auto: the blocks for an adapter, float32 where every weight trains. The command at the end has the run's arithmetic."""
        self.quantize("model.gguf", "--type", "int8")
        rows = write_rows(self.root / "rows.jsonl", [{"prompt": str(n), "completion": str(n + 1)} for n in range(8)])

        def words(output_dir, **keys):
            return ["sft", *flags({"model_name_or_path": "model.gguf", "dataset_name": rows, "output_dir": output_dir, "max_steps": 1,
                                   "per_device_train_batch_size": 2, "save_steps": 1, **keys})]
        for name, keys, dtype in (("lora", {"lora_r": 4}, "blocks"), ("full", {}, "float32"),
                                  ("wide", {"lora_r": 4, "dtype": "float32"}, "float32")):
            with self.subTest(name):
                summary = json.loads(self.ok(*words(name, **keys), "--json").out)
                self.assertEqual(state(self.root / name / "checkpoint-1")["dtype"].split()[0], dtype)
                self.assertEqual("--dtype float32" in summary["talk_to_it"], "dtype" in keys)
        self.refused(1, r"\[full fine-tuning\] the model's weights are held in blocks.*: training all of them needs float32\. .*",
                     *words("refused", dtype="blocks"))

    def test_widths_that_are_no_multiple_of_32(self):
        model = tiny_model.write_model(self.root / "odd", hidden_size=48, head_dim=12, intermediate_size=64)
        done = self.quantize("odd.gguf", "--type", "int4", "--method", "rtn", model=model)
        self.assertEqual(done["types"]["Q4_0"]["weights"], 2)  # down_proj, of 64 inputs
        self.assertEqual(len(done["f16_instead"]), 2 + 2 * 6)
        said = self.ok("quantize", model, "--type", "int8", "--output", "said.gguf").out
        self.assertIn("14 weights are F16 instead, since their rows are no multiple of 32: model.embed_tokens.weight and so on", said)

    def test_refusals(self):
        (self.root / "there.gguf").write_text("mine")
        short = write_rows(self.root / "short.jsonl", TEXTS[:1])
        words = ("quantize", TINY, "--output", "out.gguf")
        self.refused(1, r"\[quantize\] there\.gguf is there already\. Choose another --output, or remove it\.", "quantize", TINY, "--type", "int8",
                     "--output", "there.gguf")
        self.assertEqual((self.root / "there.gguf").read_text(), "mine")
        self.refused(2, r'\[flag --type\] "int5" is no type of weights: int8 \(q8_0\), .*', *words, "--type", "int5")
        self.refused(2, r'\[flag --method\] "awq" is no method of quantization: rtn and gptq are\.', *words, "--type", "int4", "--method", "awq")
        self.refused(2, r"\[flag --output\] out\.bin does not end in \.gguf\.", "quantize", TINY, "--type", "int8", "--output", "out.bin")
        self.refused(1, r"\[flag --calibration\] .*short\.jsonl holds \d+ tokens; at least 128 are needed\. Give more text\.", *words, "--type", "int4",
                     "--method", "gptq", "--calibration", short)
        (self.root / "empty.jsonl").write_text("")
        self.refused(1, r"empty\.jsonl: the file holds no rows\. .*", *words, "--type", "int4", "--method", "gptq", "--calibration", "empty.jsonl")
        self.refused(1, r"\[no/out\.gguf\.tmp-\d+\] cannot create: No such file or directory\.", "quantize", TINY, "--type", "int8", "--output",
                     "no/out.gguf")
        self.assertFalse((self.root / "out.gguf").exists())

    def test_a_weight_that_is_not_finite(self):
        model = tiny_model.write_model(self.root / "bad")
        path = self.root / "bad" / "model.safetensors"
        raw = bytearray(path.read_bytes())
        raw[-4:] = struct.pack("<f", math.inf)
        path.write_bytes(raw)
        self.refused(1, r'\[.*\] weight "model\.norm\.weight" holds inf .*', "quantize", model, "--type", "int8", "--output", "out.gguf")

    def test_full_disk(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))

        self.refused(1, r"\[out\.gguf\.tmp-\d+\] cannot write: File too large, after 40000 bytes\.", "quantize", TINY, "--type", "int8", "--output",
                     "out.gguf", limits=limit)
        self.assertEqual(list(self.root.iterdir()), [])

    def test_ctrl_c_leaves_nothing(self):
        process = self.start("quantize", TINY, "--type", "int4", "--method", "gptq", "--calibration_tokens", "60000", "--output", "out.gguf")
        try:
            process.wait(0.7)
        except Exception:  # it is still at work
            process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(), 130)
        self.assertEqual([path.name for path in self.root.iterdir()], ["background.log"])
