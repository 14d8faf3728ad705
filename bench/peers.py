#!/usr/bin/env python3
"""Runs candor beside other people's software on one task, in one run on one machine, and prints the ratio.

usage: peers.py [--task grpo|sft|sft_full] [--gsm8k FILE] [--peers DIR --python VENV/bin/python --model HF_DIR]
       peers.py --task generation --gguf FILE... [--dtype NAME...] [--llama-python VENV/bin/python]
       both: [--candor PROGRAM] [--steps N] [--history FILE | --no-history]

The peer runs between two runs of ours, so that a change of the machine's pace shows. Without --python only ours runs.
Standard library only; see README.md beside this file for the environments and what the figures mean.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    """A program ended badly; the message shows its last lines."""


def run(command, cwd=None):
    """Runs a program: the JSON object on the last line that is one, and the peak resident bytes of its process."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(word) for word in command], cwd=cwd, stdout=out, stderr=err, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        text, errors = out.read(), err.read()
    if process.returncode != 0:
        shown = "\n".join((text + errors).strip().split("\n")[-8:])
        raise Failed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{shown}")
    # One object over several lines (candor), or one line at the end of a log (the peers).
    for candidate in [text] + text.strip().split("\n")[::-1]:
        try:
            figures = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(figures, dict):
            return figures, usage.ru_maxrss * 1024
    raise Failed(f"{' '.join(map(str, command))} printed no JSON object")


def write_sums(path, count, seed=0):
    """The rows of the peers' common.sums(): the same numbers in the same order."""
    draw = random.Random(seed)
    with open(path, "w") as file:
        for _ in range(count):
            a, b = draw.randint(2, 50), draw.randint(2, 50)
            prompt = [{"role": "user", "content": f"What is {a} + {b}? Answer with just the number."}]
            file.write(json.dumps({"prompt": prompt, "answer": str(a + b)}) + "\n")


def our_grpo(options, folder, name):
    """The median seconds of a step, and the peak resident bytes."""
    data = folder / "sums.jsonl"
    write_sums(data, 4000)
    figures, resident = run([options.candor, "grpo", HERE / "grpo.yaml", "--model_name_or_path", options.model, "--dataset_name",
                             data, "--max_steps", options.steps, "--output_dir", folder / name, "--json"])
    return {"step_time_s": figures["step_time_s"], "resident_bytes": resident}


def peer_grpo(options):
    figures, resident = run([options.python, options.peers / "grpo.py", options.model, "--float32", "--steps", options.steps],
                            cwd=options.peers)
    return {"step_time_s": figures["step_s"], "resident_bytes": resident, "versions":
            {name: figures[name] for name in ("trl", "torch", "transformers")}}


def write_questions(path, source):
    """The rows of the peers' sft.py: GSM8K's first 400 questions with their answers."""
    with open(source) as rows, open(path, "w") as file:
        for line in list(rows)[:400]:
            row = json.loads(line)
            file.write(json.dumps({"prompt": [{"role": "user", "content": row["question"]}],
                                   "completion": [{"role": "assistant", "content": row["answer"]}]}) + "\n")


def our_sft(options, folder, name):
    data = folder / "gsm8k.jsonl"
    write_questions(data, options.gsm8k)
    lora = ["--lora_r", 16, "--lora_alpha", 32] if options.task == "sft" else []
    figures, resident = run([options.candor, "sft", HERE / "sft.yaml", "--model_name_or_path", options.model, "--dataset_name", data,
                             "--max_steps", options.steps, "--output_dir", folder / name, "--json", *lora])
    with open(folder / name / "metrics.jsonl") as file:
        steps = [json.loads(line) for line in file]
    # The first step touches every page of the buffers; the peer's is left out too.
    tokens = steps[-1]["num_tokens"] - steps[0]["num_tokens"]
    seconds = sum(step["step_time"] for step in steps[1:])
    rows = figures["rows"]["train"]
    return {"step_time_s": statistics.median(step["step_time"] for step in steps[1:]), "tokens_per_s": tokens / seconds,
            "counted_share": rows["counted_tokens"] / rows["tokens"], "resident_bytes": resident}


def peer_sft(options):
    full = ["--full"] if options.task == "sft_full" else []
    figures, resident = run([options.python, options.peers / "sft.py", options.model, options.gsm8k, "--float32", "--steps", options.steps,
                             *full], cwd=options.peers)
    return {"step_time_s": figures["step_s"], "tokens_per_s": figures["tokens_per_s"], "resident_bytes": resident, "versions":
            {name: figures[name] for name in ("trl", "torch", "transformers")}}


def sft_gflop_per_token(task, counted_share):
    """SmolLM2-135M, two per multiply-add, nothing computed twice: the linear layers forward and for their inputs (with full
    fine-tuning also for their weights), the adapter's products, the head over the tokens that count; attention is left out (3%)."""
    linear, head, adapter = 30 * 3538944, 49152 * 576, 30 * 16 * (4 * 576 + 2 * 768 + 3 * 2112)
    passes = 3 if task == "sft_full" else 2
    products = passes * linear + (3 * adapter if task == "sft" else 0) + counted_share * passes * head
    return 2 * products / 1e9


def our_generation(options, gguf, dtype):
    figures, _ = run([options.candor, "bench", gguf, "--generation", "--dtype", dtype, "--json"])
    return figures


def peer_generation(options, gguf):
    figures, _ = run([options.llama_python, HERE / "llama.py", gguf])
    return figures


def generation(options):
    """Ours in every dtype asked for, llama.cpp on every file, ours again."""
    ours = [[our_generation(options, options.gguf[0], dtype) for dtype in options.dtype]]
    peers = [peer_generation(options, gguf) for gguf in options.gguf] if options.llama_python else []
    if peers:
        ours.append([our_generation(options, options.gguf[0], dtype) for dtype in options.dtype])
    return {"ours": ours, "peers": peers}


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": model, "cores": len(os.sched_getaffinity(0))}


def commit():
    """The revision that was measured, marked with + where files differ from it."""
    def git(*words):
        return subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def gib(count):
    return f"{count / 2**30:.2f} GiB"


def show_generation(figures):
    works = ("prefill_512", "decode_b1", "decode_b16", "decode_b32")
    print(f"{'tokens/s':24}" + "".join(f"{name:>14}" for name in works))
    for run in figures["ours"]:
        for ours in run:
            print(f"{'candor ' + ours['dtype']:24}" + "".join(f"{ours[name]:14.1f}" for name in works))
    for peer in figures["peers"]:
        print(f"{peer['file'][-24:]:24}" + "".join(f"{peer[name]:14.1f}" for name in works))
    if figures["peers"]:
        def ratio(name):  # our two runs' mean in the fastest dtype, against llama.cpp's fastest file
            ours = [statistics.mean(run[name] for run in runs) for runs in zip(*figures["ours"])]
            return max(ours) / max(peer[name] for peer in figures["peers"])
        print(f"{'ratio, best to best':24}" + "".join(f"{ratio(name):14.2f}" for name in works))


def show_bench(bench):
    print(f"roof      {bench['roof_gflops']:.0f} GFLOP/s in float32, {bench['roof_dram_gbs']:.0f} GB/s from memory "
          f"({bench['roof_gflops_again']:.0f} GFLOP/s after the work)")
    for name, title in (("gemm_fraction", "GEMM"), ("prefill_fraction", "prefill"), ("grpo_step_fraction", "GRPO step")):
        print(f"{title:9} {100 * bench[name]:.0f}% of the roof")
    for title, name in (("prefill", "prefill_tokens_per_s"), ("decode", "decode_tokens_per_s")):
        print(f"{title:9} {bench[name]:.1f} tokens/s")


def show_grpo(ours, peer):
    seconds = statistics.mean(figures["step_time_s"] for figures in ours)
    peak = max(figures["resident_bytes"] for figures in ours)
    each = ", ".join(f"{figures['step_time_s']:.2f}" for figures in ours)
    print(f"GRPO step of 4 prompts × 8, at most 16 tokens, LoRA, float32: {seconds:.2f} s (runs: {each}), peak {gib(peak)}")
    if peer:
        print(f"TRL       {peer['step_time_s']:.2f} s, peak {gib(peer['resident_bytes'])}: "
              f"candor is {peer['step_time_s'] / seconds:.2f} times as fast, in 1/{peer['resident_bytes'] / peak:.1f} of the memory")


def show_sft(options, ours, peer, roof_gflops):
    rate = statistics.mean(figures["tokens_per_s"] for figures in ours)
    peak = max(figures["resident_bytes"] for figures in ours)
    gflop = sft_gflop_per_token(options.task, ours[0]["counted_share"])
    each = ", ".join(f"{figures['tokens_per_s']:.0f}" for figures in ours)
    print(f"{'full fine-tuning' if options.task == 'sft_full' else 'SFT with LoRA'}, 8 rows of GSM8K, float32: {rate:.0f} tokens/s (runs: {each}), "
          f"median step {statistics.median(figures['step_time_s'] for figures in ours):.2f} s, {100 * rate * gflop / roof_gflops:.0f}% of the roof, peak {gib(peak)}")
    if peer:
        print(f"TRL       {peer['tokens_per_s']:.0f} tokens/s, median step {peer['step_time_s']:.2f} s, peak {gib(peer['resident_bytes'])}: "
              f"candor is {rate / peer['tokens_per_s']:.2f} times as fast, in 1/{peer['resident_bytes'] / peak:.1f} of the memory")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("grpo", "sft", "sft_full", "generation"), default="grpo")
    parser.add_argument("--gsm8k", type=pathlib.Path, default=HERE.parent.parent / "shared/data/gsm8k/train.jsonl", help="rows for sft")
    parser.add_argument("--candor", type=pathlib.Path, default=HERE.parent / "build/release/candor")
    parser.add_argument("--peers", type=pathlib.Path, default=HERE.parent.parent / "shared/peers", help="folder of grpo.py, sft.py, generate.py")
    parser.add_argument("--python", type=pathlib.Path, help="the interpreter that has TRL; without it only ours runs")
    parser.add_argument("--model", default="smollm2", help="for both: the Hugging Face directory in float32 (ours alone: any model)")
    parser.add_argument("--llama-python", type=pathlib.Path, help="the interpreter that has llama_cpp")
    parser.add_argument("--gguf", type=pathlib.Path, nargs="+", help="generation: llama.cpp runs each of these files, candor the first")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], help="generation: what candor computes in")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--history", type=pathlib.Path, default=HERE / "history.jsonl")
    parser.add_argument("--no-history", action="store_true")
    options = parser.parse_args()
    if options.task == "generation" and not options.gguf:
        parser.error("--task generation needs --gguf FILE...")
    # The peers run in their own folder. Not resolve(): a virtual environment's python is a link, and following it leaves it.
    for name in ("candor", "peers", "python", "llama_python", "gsm8k"):
        if getattr(options, name):
            setattr(options, name, pathlib.Path(os.path.abspath(getattr(options, name))))
    options.gguf = [pathlib.Path(os.path.abspath(path)) for path in options.gguf or []]
    if os.path.exists(options.model):
        options.model = os.path.abspath(options.model)

    entry = {"time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit(),
             "machine": machine(), "load_before": round(os.getloadavg()[0], 2), "steps": options.steps}
    with tempfile.TemporaryDirectory(prefix="candor-bench-") as name:
        folder = pathlib.Path(name)
        os.environ["CANDOR_DATA"] = name  # these runs do not belong into the user's index
        if options.task == "generation":
            entry["generation"] = generation(options)
            return finish(options, entry)
        entry["bench"], _ = run([options.candor, "bench", options.model, "--json"])
        ours, peer = (our_grpo, peer_grpo) if options.task == "grpo" else (our_sft, peer_sft)
        entry[options.task] = {"ours": [ours(options, folder, "first")], "peer": None}
        if options.python:
            entry[options.task]["peer"] = peer(options)
            entry[options.task]["ours"].append(ours(options, folder, "second"))
    finish(options, entry)


def without_folders(value):
    """The same with every model by its name: the history is no place for one machine's paths."""
    if isinstance(value, dict):
        return {key: pathlib.Path(item).name if key == "model" else without_folders(item) for key, item in value.items()}
    return [without_folders(item) for item in value] if isinstance(value, list) else value


def finish(options, entry):
    print(f"{entry['machine']['processor']}, {entry['machine']['cores']} cores, commit {entry['commit']}, load {entry['load_before']}")
    if options.task == "generation":
        show_generation(entry["generation"])
    else:
        show_bench(entry["bench"])
    if options.task == "grpo":
        show_grpo(entry["grpo"]["ours"], entry["grpo"]["peer"])
    elif options.task != "generation":
        show_sft(options, entry[options.task]["ours"], entry[options.task]["peer"], entry["bench"]["roof_gflops"])
    if not options.no_history:
        with open(options.history, "a") as file:
            file.write(json.dumps(without_folders(entry)) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, KeyError) as error:
        sys.exit(f"[bench] {error}")
