#!/usr/bin/env python3
"""What fewer bits cost a model: bytes, perplexity, KL to its float32 weights and right answers, by type and method of `candor quantize`.

usage: quantization.py CANDOR MODEL FOLDER --data DIRECTORY [--permute] [--rows NAME...] [--report]
                       [--texts N] [--sums N] [--pairs N] [--gsm8k N] [--calibration_tokens N]

MODEL is a Hugging Face directory in float32 (gguf_to_hf.py writes one), FOLDER takes texts, models and results. Every
measured row is one line of FOLDER/results.jsonl and is not measured again, so the script may be stopped and started at will.
--report only prints the table. DIRECTORY holds llmbar/*.json and geometry-of-truth/cities.csv (and gsm8k/train.jsonl).
(Standard library only.)

--permute: SmolLM2 is at hand only as a Q4_1 file, whose grid Q4_1 gives back unchanged. So its channels are permuted first,
the hidden ones, the MLP's and those inside a value head: the same function, other groups of 32.

What is measured of a row:
  KL and perplexity  `quantize --evaluate`: the weights alone, in float32 arithmetic, on LLMBar's preferred answers; the
                     other half of LLMBar calibrates
  as it runs         the same perplexity in the arithmetic that the type is for: blocks with int8 activations, bfloat16; float32 for the simulated types
  sums               greedy answers to "What is a + b?", a and b in [2, 50]
  cities             pairs "The city of X is in Y.": is the true one likelier?
  gsm8k              greedy answers to N questions, as it runs; only where asked for
Intervals are at 95%: KL by bootstrap over texts, answers by Clopper and Pearson; losses and gains of answers beside float32 are counted item by item.
"""
import argparse
import array
import csv
import json
import math
import operator
import pathlib
import random
import shutil
import struct
import subprocess
import sys

# name: (--type, --method, --dtype of the tasks). The first is the model as it is.
ROWS = {"float32": (None, None, "float32"), "bf16": ("bf16", "rtn", "bfloat16"), "int8": ("int8", "rtn", "blocks"),
        "q4_0 rtn": ("q4_0", "rtn", "blocks"), "q4_0 gptq": ("q4_0", "gptq", "blocks"),
        "q4_1 rtn": ("q4_1", "rtn", "blocks"), "q4_1 gptq": ("q4_1", "gptq", "blocks"),
        "3 bits rtn": ("int3", "rtn", "float32"), "3 bits gptq": ("int3", "gptq", "float32"),
        "2 bits rtn": ("int2", "rtn", "float32"), "2 bits gptq": ("int2", "gptq", "float32")}


def permuted(source, target, seed=1):
    """Writes the model with its channels in another order: the same function."""
    target.mkdir()
    config = json.loads((source / "config.json").read_text())
    hidden, mlp, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    kv_heads, width = config["num_key_value_heads"], hidden // heads
    draw = random.Random(seed)

    def order(size):
        return draw.sample(range(size), size)
    stream = order(hidden)
    layers = [{"mlp": order(mlp), "value": [order(width) for _ in range(kv_heads)]} for _ in range(config["num_hidden_layers"])]

    def orders(name):
        """Which row, and which column, comes where; None: unchanged."""
        part = name.split(".")[-2]
        if part in ("embed_tokens", "lm_head"):
            return None, stream
        if part.endswith("norm"):
            return stream, None
        layer = layers[int(name.split(".")[2])]
        value_rows = [h * width + i for h in range(kv_heads) for i in layer["value"][h]]
        value_columns = [h * width + i for h in range(heads) for i in layer["value"][h * kv_heads // heads]]
        return {"q_proj": (None, stream), "k_proj": (None, stream), "v_proj": (value_rows, stream), "o_proj": (stream, value_columns),
                "gate_proj": (layer["mlp"], stream), "up_proj": (layer["mlp"], stream), "down_proj": (stream, layer["mlp"])}[part]

    with open(source / "model.safetensors", "rb") as file, open(target / "model.safetensors", "wb") as out:
        size = struct.unpack("<Q", file.read(8))[0]
        raw = file.read(size)
        out.write(struct.pack("<Q", size) + raw)
        header = {name: info for name, info in json.loads(raw).items() if name != "__metadata__"}
        for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            assert info["dtype"] == "F32", f"{name} is {info['dtype']}; this script permutes float32 alone"
            file.seek(8 + size + info["data_offsets"][0])
            values = array.array("f", file.read(info["data_offsets"][1] - info["data_offsets"][0]))
            rows, columns = orders(name)
            if len(info["shape"]) == 1:
                out.write(array.array("f", operator.itemgetter(*rows)(values)).tobytes())
                continue
            width_in = info["shape"][1]
            take = operator.itemgetter(*columns)
            for row in rows or range(info["shape"][0]):
                out.write(array.array("f", take(values[row * width_in:(row + 1) * width_in])).tobytes())
    for file in source.iterdir():
        if file.name != "model.safetensors":
            (target / file.name).write_bytes(file.read_bytes())


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_texts(options):
    """The texts and tasks, all drawn from fixed seeds."""
    folder, data = options.folder, options.data
    rows = []
    for name in ("Natural", "GPTInst", "GPTOut", "Manual", "Neighbor"):
        for r in json.loads((data / f"llmbar/{name}.json").read_text()):
            rows.append({"messages": [{"role": "user", "content": r["input"]}, {"role": "assistant", "content": r[f"output_{r['label']}"]}]})
    random.Random(1).shuffle(rows)
    half = len(rows) // 2
    write_rows(folder / "calibration.jsonl", rows[:half])
    short = [r for r in rows[half:] if sum(len(m["content"]) for m in r["messages"]) <= 800]
    write_rows(folder / "evaluation.jsonl", short[:options.texts])
    draw = random.Random(3)
    sums = draw.sample([(a, b) for a in range(2, 51) for b in range(2, 51)], options.sums)
    write_rows(folder / "sums.jsonl", [{"prompt": [{"role": "user", "content": f"What is {a} + {b}? Answer with just the number."}],
                                        "answer": str(a + b)} for a, b in sums])
    cities = {}
    with open(data / "geometry-of-truth/cities.csv", newline="") as file:
        for r in csv.DictReader(file):
            cities.setdefault(r["city"], {})[r["label"]] = r["statement"]
    pairs = draw.sample(sorted((pair for pair in cities.values() if len(pair) == 2), key=lambda pair: pair["1"]), options.pairs)
    write_rows(folder / "cities.jsonl", [{"text": pair[label]} for pair in pairs for label in ("1", "0")])
    if options.gsm8k > 0:
        questions = (data / "gsm8k/train.jsonl").read_text().splitlines()[-options.gsm8k:]
        write_rows(folder / "gsm8k.jsonl", map(json.loads, questions))


class Measurement:
    def __init__(self, options, source):
        self.options, self.folder, self.source = options, options.folder, source

    def candor(self, *words):
        made = subprocess.run([self.options.candor, *map(str, words)], capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}:\n{made.stderr}")
        return made.stdout

    def quantized(self, kind, method):
        """The model as a file, and what `candor quantize` says of it."""
        path = self.folder / "model.gguf"
        path.unlink(missing_ok=True)
        words = ["quantize", self.source, "--type", kind, "--method", method, "--output", path, "--json", "--evaluate",
                 self.folder / "evaluation.jsonl", "--evaluate_tokens", 1 << 20]
        if method == "gptq":
            words += ["--calibration", self.folder / "calibration.jsonl", "--calibration_tokens", self.options.calibration_tokens]
        said = json.loads(self.candor(*words))
        stored = said["bytes_after"]
        for name, part in said["types"].items():
            if name.endswith(" bits"):  # stored as float32; what blocks of such a type would take
                stored += part["bytes"] * (said["bits_per_weight"] / 32 - 1)
        return path, {"bytes": round(stored), "bits": said["bits_per_weight"], **said["evaluation"]}

    def answers(self, model, dtype, task, length):
        """A 1 for each item that was answered rightly, else 0."""
        items = self.folder / "items.jsonl"
        self.candor("eval", model, self.folder / f"{task}.jsonl", "--dtype", dtype, "--max_new_tokens", length, "--output", items)
        return "".join(str(int(json.loads(line)["correct"])) for line in items.read_text().splitlines())

    def scores(self, model, dtype, name):
        return [json.loads(line) for line in self.candor("score", model, self.folder / name, "--dtype", dtype).splitlines()]

    def row(self, name):
        kind, method, dtype = ROWS[name]
        if kind is None:
            path, row = self.source, {"bytes": (self.source / "model.safetensors").stat().st_size, "bits": 32}
        else:
            path, row = self.quantized(kind, method)
        texts = self.scores(path, dtype, "evaluation.jsonl")
        row["perplexity_as_it_runs"] = math.exp(sum(t["nll"] for t in texts) / sum(t["tokens"] for t in texts))
        nll = [t["nll"] for t in self.scores(path, dtype, "cities.jsonl")]
        row["cities"] = "".join(str(int(true < false)) for true, false in zip(nll[::2], nll[1::2]))
        row["sums"] = self.answers(path, dtype, "sums", 14)
        if self.options.gsm8k > 0:
            row["gsm8k"] = self.answers(path, dtype, "gsm8k", 256)
        return {"name": name, "dtype": dtype, **row}


def interval(right, count):
    """Clopper and Pearson's, at 95%, by bisection of the binomial tails."""
    def tail(p, least):
        return sum(math.comb(count, k) * p**k * (1 - p)**(count - k) for k in range(least, count + 1))

    def solve(least, target):
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, least) < target else (low, middle)
        return low
    return (0.0 if right == 0 else solve(right, 0.025)), (1.0 if right == count else solve(right + 1, 0.975))


def shown(bits, base):
    """Right answers with their interval, and how many were lost and gained beside `base`."""
    right = bits.count("1")
    low, high = interval(right, len(bits))
    text = f"{100 * right / len(bits):.1f}% ({100 * low:.0f}–{100 * high:.0f})"
    if base is None or base == bits:
        return text
    return text + f", −{sum(b > a for a, b in zip(bits, base))} +{sum(a > b for a, b in zip(bits, base))}"


def report(results):
    base = results.get("float32", {})
    tasks = [task for task in ("sums", "cities", "gsm8k") if any(task in row for row in results.values())]
    print("| weights | bits | MB | perplexity | KL, 10⁻³ nats | same choice | perplexity as it runs | " + " | ".join(tasks) + " |")
    print("|---" * (7 + len(tasks)) + "|")
    for name in ROWS:
        if name not in results:
            continue
        row = results[name]
        kl, same, perplexity = "0", "100%", row["perplexity_as_it_runs"]
        if "kl_nats" in row:
            low, high = row["kl_interval"]
            kl, same = f"{1e3 * row['kl_nats']:.3g} ({1e3 * low:.3g}–{1e3 * high:.3g})", f"{100 * row['same_choice']:.1f}%"
            perplexity = row["perplexity_after"]
        print(f"| {name} | {row['bits']:g} | {1e-6 * row['bytes']:.0f} | {perplexity:.3f} | {kl} | {same} | "
              f"{row['perplexity_as_it_runs']:.3f} | " + " | ".join(shown(row[t], base.get(t)) if t in row else "" for t in tasks) + " |")
    counted = next((row for row in results.values() if "tokens" in row), None)
    if counted:
        print(f"\n{counted['texts']} texts, {counted['tokens']} tokens counted.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candor")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--permute", action="store_true")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--calibration_tokens", type=int, default=8192)
    parser.add_argument("--texts", type=int, default=60, help="of LLMBar, to evaluate on")
    parser.add_argument("--sums", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=300, help="of cities")
    parser.add_argument("--gsm8k", type=int, default=0, metavar="N")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results_path = options.folder / "results.jsonl"
    lines = results_path.read_text().splitlines() if results_path.exists() else []
    results = {row["name"]: row for row in map(json.loads, lines)}
    if not options.report:
        make_texts(options)
        source = options.model
        if options.permute:
            source = options.folder / "permuted"
            if not source.exists():
                unfinished = options.folder / "unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                permuted(options.model, unfinished)
                unfinished.rename(source)
        measurement = Measurement(options, source)
        for name in options.rows:
            if name in results:
                continue
            print(name, flush=True)
            results[name] = measurement.row(name)
            with open(results_path, "a") as out:
                out.write(json.dumps(results[name]) + "\n")
    report(results)


if __name__ == "__main__":
    main()
