#!/usr/bin/env python3
"""Loads an adapter that candor wrote with PEFT and compares log-probabilities with those of `candor score`.

usage: check_peft.py ADAPTER_DIR MODEL_DIR ROWS.jsonl SCORES.jsonl [--float64] [--tolerance 1e-3]

  candor score MODEL_DIR ROWS.jsonl --adapter ADAPTER_DIR > SCORES.jsonl

MODEL_DIR is a Hugging Face directory in float32. Needs torch, transformers and peft: the environment of bench/README.md.
Prints the largest differences and how far the adapter moves the model (a comparison with an adapter that does nothing proves
nothing). Exits 1 beyond the tolerance: two float32 implementations of a 30-layer model differ by some 1e-5 per token, up to
1e-4 where a probability is tiny; a wrong scale or a transposed factor differs by far more than 1e-3.
"""
import argparse
import json
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def rows_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def score(model, ids):
    """ln p(token t given those before) and the entropy of that distribution, for t = 1, 2, …, in double after the logits."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double()
    log_p = logits.log_softmax(-1)
    return log_p.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


def missing_keys(model, adapter_dir):
    """Tensors of the file that PEFT did not put into the model as they are."""
    def as_saved(name):
        name = name.replace(".modules_to_save.default", "").replace(".default", "")
        return name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")

    loaded = {as_saved(name): tensor for name, tensor in model.state_dict().items()}
    saved = load_file(f"{adapter_dir}/adapter_model.safetensors")
    return [name for name, tensor in saved.items()
            if name not in loaded or not torch.equal(loaded[name], tensor.to(loaded[name].dtype))], len(saved)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter")
    parser.add_argument("model")
    parser.add_argument("rows")
    parser.add_argument("scores")
    parser.add_argument("--float64", action="store_true", help="run the whole model in double")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()

    rows, scores = rows_of(options.rows), rows_of(options.scores)
    if len(rows) != len(scores):
        return f"{options.rows} has {len(rows)} rows, {options.scores} has {len(scores)}"
    for number, (row, ours) in enumerate(zip(rows, scores), 1):
        if "input_ids" in row and row["input_ids"] != ours["input_ids"]:
            return f"row {number}: the scores are of other tokens than the row's"

    dtype = torch.float64 if options.float64 else torch.float32
    base = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).eval()
    without = [score(base, ours["input_ids"])[0] for ours in scores]
    model = PeftModel.from_pretrained(base, options.adapter, autocast_adapter_dtype=False).to(dtype).eval()
    missing, count = missing_keys(model, options.adapter)
    if missing:
        return f"PEFT did not take {len(missing)} of {count} tensors, {missing[0]} among them"

    worst = {"logprob": 0.0, "entropy": 0.0, "effect": 0.0}
    tokens = 0
    for ours, plain in zip(scores, without):
        logprobs, entropy = score(model, ours["input_ids"])
        tokens += len(logprobs)
        for name, got, want in (("logprob", ours["logprobs"], logprobs), ("entropy", ours.get("entropy"), entropy)):
            if got is not None:
                difference = (torch.tensor(got[1:], dtype=torch.float64) - want).abs().max().item()
                worst[name] = max(worst[name], difference)
        worst["effect"] = max(worst["effect"], (logprobs - plain).abs().max().item())
    print(f"{count} tensors, {len(scores)} rows, {tokens} tokens, PEFT in {dtype}".replace("torch.", ""))
    print(f"largest difference  logprob {worst['logprob']:.2e}   entropy {worst['entropy']:.2e}")
    print(f"the adapter moves log-probabilities by up to {worst['effect']:.2e}")
    # Written so that a NaN fails too.
    close = worst["logprob"] <= options.tolerance and worst["entropy"] <= options.tolerance
    return 0 if close else f"beyond the tolerance of {options.tolerance:g}"


if __name__ == "__main__":
    sys.exit(main())
