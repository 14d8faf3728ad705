#!/usr/bin/env python3
"""Runs candor beside other people's software on one task, in one run on one machine, and prints the ratio.

usage: peers.py [--peers DIR --python VENV/bin/python --model HF_DIR] [--llama-python VENV/bin/python --gguf FILE]
                [--candor PROGRAM] [--steps N] [--history FILE | --no-history]

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


def peer_generate(options):
    figures, _ = run([options.llama_python, options.peers / "generate.py", "llamacpp", options.gguf], cwd=options.peers)
    return figures


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


def show_bench(bench, llamacpp):
    print(f"roof      {bench['roof_gflops']:.0f} GFLOP/s in float32, {bench['roof_dram_gbs']:.0f} GB/s from memory "
          f"({bench['roof_gflops_again']:.0f} GFLOP/s after the work)")
    for name, title in (("gemm_fraction", "GEMM"), ("prefill_fraction", "prefill"), ("grpo_step_fraction", "GRPO step")):
        print(f"{title:9} {100 * bench[name]:.0f}% of the roof")
    for title, ours, theirs in (("prefill", "prefill_tokens_per_s", "prefill_512"), ("decode", "decode_tokens_per_s", "decode_b1")):
        beside = f", llama.cpp {llamacpp[theirs]:.1f}: {bench[ours] / llamacpp[theirs]:.2f} times it" if llamacpp else ""
        print(f"{title:9} {bench[ours]:.1f} tokens/s{beside}")


def show_grpo(ours, peer):
    seconds = statistics.mean(figures["step_time_s"] for figures in ours)
    peak = max(figures["resident_bytes"] for figures in ours)
    each = ", ".join(f"{figures['step_time_s']:.2f}" for figures in ours)
    print(f"GRPO step of 4 prompts × 8, at most 16 tokens, LoRA, float32: {seconds:.2f} s (runs: {each}), peak {gib(peak)}")
    if peer:
        print(f"TRL       {peer['step_time_s']:.2f} s, peak {gib(peer['resident_bytes'])}: "
              f"candor is {peer['step_time_s'] / seconds:.2f} times as fast, in 1/{peer['resident_bytes'] / peak:.1f} of the memory")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candor", type=pathlib.Path, default=HERE.parent / "build/release/candor")
    parser.add_argument("--peers", type=pathlib.Path, default=HERE.parent.parent / "shared/peers", help="folder of grpo.py, generate.py")
    parser.add_argument("--python", type=pathlib.Path, help="the interpreter that has TRL; without it only ours runs")
    parser.add_argument("--model", default="smollm2", help="for both: the Hugging Face directory in float32 (ours alone: any model)")
    parser.add_argument("--llama-python", type=pathlib.Path, help="the interpreter that has llama_cpp")
    parser.add_argument("--gguf", help="the file that llama.cpp runs")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--history", type=pathlib.Path, default=HERE / "history.jsonl")
    parser.add_argument("--no-history", action="store_true")
    options = parser.parse_args()
    if options.llama_python and not options.gguf:
        parser.error("--llama-python needs --gguf FILE")
    # The peers run in their own folder. Not resolve(): a virtual environment's python is a link, and following it leaves it.
    for name in ("candor", "peers", "python", "llama_python", "gguf"):
        if getattr(options, name):
            setattr(options, name, pathlib.Path(os.path.abspath(getattr(options, name))))
    if os.path.exists(options.model):
        options.model = os.path.abspath(options.model)

    entry = {"time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit(),
             "machine": machine(), "load_before": round(os.getloadavg()[0], 2), "steps": options.steps}
    with tempfile.TemporaryDirectory(prefix="candor-bench-") as name:
        folder = pathlib.Path(name)
        entry["bench"], _ = run([options.candor, "bench", options.model, "--json"])
        entry["grpo"] = {"ours": [our_grpo(options, folder, "first")], "peer": None}
        if options.python:
            entry["grpo"]["peer"] = peer_grpo(options)
            entry["grpo"]["ours"].append(our_grpo(options, folder, "second"))
        entry["llamacpp"] = peer_generate(options) if options.llama_python else None
    print(f"{entry['machine']['processor']}, {entry['machine']['cores']} cores, commit {entry['commit']}, load {entry['load_before']}")
    show_bench(entry["bench"], entry["llamacpp"])
    show_grpo(entry["grpo"]["ours"], entry["grpo"]["peer"])
    if not options.no_history:
        with open(options.history, "a") as file:
            file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, KeyError) as error:
        sys.exit(f"[bench] {error}")
