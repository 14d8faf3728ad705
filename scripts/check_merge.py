#!/usr/bin/env python3
"""Loads a directory that `candor merge` wrote with Transformers and compares log-probabilities with `candor score` of base and adapter.

usage: check_merge.py MERGED_DIR ROWS.jsonl SCORES.jsonl [--base BASE_SCORES.jsonl] [--tolerance 1e-3] [--strings FILE]

  candor merge MODEL --adapter ADAPTER_DIR --output MERGED_DIR --dtype float32
  candor score MODEL ROWS.jsonl --adapter ADAPTER_DIR > SCORES.jsonl
  candor score MODEL ROWS.jsonl > BASE_SCORES.jsonl

Needs torch and transformers: the environment of bench/README.md. The rows' texts are tokenized by Transformers with the written
tokenizer and must give the ids of the scores. With --base it also prints how far the adapter moves the model: a comparison
with an adapter that does nothing proves nothing. --strings names a vectors file of golden/text/tokenizers/real: the written tokenizer must
give its ids. Exits 1 beyond the tolerance: two float32 implementations of a 30-layer model differ by some 1e-5 per token, up to
1e-4 where a probability is tiny.
"""
import argparse
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def score(model, ids):
    """ln p(token t given those before) for t = 1, 2, …, in double after the logits."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double()
    return logits.log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


def wrong_strings(tokenizer, path):
    """Names of the strings of a vectors file whose ids are others, and how many there are."""
    vectors = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    strings = json.loads((pathlib.Path(path).parent.parent / "strings.json").read_text(encoding="utf-8"))
    texts = {item["name"]: item["text"] for key, items in strings.items()
             if key in ("strings", vectors["name"] + "_strings") for item in items}
    own = {case["name"]: case["ids"] for case in vectors.get("gguf_cases", [])}
    wrong = [case["name"] for case in vectors["cases"]
             if tokenizer.encode(texts[case["name"]], add_special_tokens=False) != own.get(case["name"], case["ids"])]
    return wrong, len(vectors["cases"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("merged")
    parser.add_argument("rows")
    parser.add_argument("scores")
    parser.add_argument("--base")
    parser.add_argument("--strings")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.merged)
    if options.strings:
        wrong, count = wrong_strings(tokenizer, options.strings)
        print(f"{count - len(wrong)} of {count} strings have the ids of {options.strings}")
        if wrong:
            return f"{len(wrong)} strings have other ids, {wrong[0]!r} among them"
    rows, scores = rows_of(options.rows), rows_of(options.scores)
    base = rows_of(options.base) if options.base else scores
    if not len(rows) == len(scores) == len(base):
        return f"{len(rows)} rows, {len(scores)} scores and {len(base)} scores of the base"
    model, report = AutoModelForCausalLM.from_pretrained(options.merged, dtype="auto", output_loading_info=True)
    faults = {name: keys for name, keys in report.items() if keys}
    if faults:
        return f"Transformers did not take the weights as they are: {faults}"
    worst, effect, tokens = 0.0, 0.0, 0
    for number, (row, ours, plain) in enumerate(zip(rows, scores, base), 1):
        ids = ours["input_ids"]
        if "text" in row and tokenizer.encode(row["text"], add_special_tokens=False) != ids:
            return f"row {number}: the written tokenizer gives other ids than candor's"
        logprobs = score(model.eval(), ids)
        want = torch.tensor(ours["logprobs"][1:], dtype=torch.float64)
        tokens += len(logprobs)
        worst = max(worst, (logprobs - want).abs().max().item())
        effect = max(effect, (torch.tensor(plain["logprobs"][1:], dtype=torch.float64) - want).abs().max().item())
    print(f"{len(rows)} rows, {tokens} tokens, {model.dtype}".replace("torch.", ""))
    print(f"largest difference of a log-probability {worst:.2e}; the adapter moves them by up to {effect:.2e}")
    return 0 if worst <= options.tolerance else f"beyond the tolerance of {options.tolerance:g}"  # so that a NaN fails too


if __name__ == "__main__":
    sys.exit(main())
