#!/usr/bin/env python3
"""Trains a small adapter of every kind with candor and lets PEFT load it: check_peft.py over kinds instead of one adapter.

usage: check_peft_kinds.py CANDOR_BINARY [--keep DIR] [--tolerance 2e-4]

The bases are small random models with the repository's test tokenizer: a Llama and a GPT-2. Of each adapter, PEFT in float64 must take
every tensor as it is and give candor's log-probabilities. Needs torch, transformers and peft: the environment of bench/README.md.
Exits 1 beyond the tolerance: candor computes in float32, with rows of some 40 tokens and log-probabilities down to -15.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests" / "e2e")]
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import check_peft
import tiny_model

LINEAR, GPT2_LINEAR = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", "c_attn,c_proj,c_fc"
KINDS = {  # name: base, keys of candor sft
    "lora": ("llama", {"lora_target_modules": "all-linear"}),
    "rslora": ("llama", {"lora_target_modules": LINEAR, "use_rslora": "true"}),
    "patterns": ("llama", {"lora_target_modules": LINEAR, "lora_rank_pattern": r"q_proj=2,layers\.1\.mlp\.down_proj=6",
                           "lora_alpha_pattern": "v_proj=16,o_proj=3"}),
    "pissa": ("llama", {"lora_target_modules": LINEAR, "init_lora_weights": "pissa"}),
    "dora": ("llama", {"lora_target_modules": LINEAR, "use_dora": "true"}),
    "embeddings": ("llama", {"lora_target_modules": "embed_tokens,lm_head,v_proj"}),
    "dora_embedding": ("llama", {"lora_target_modules": "embed_tokens,v_proj", "use_dora": "true"}),
    "modules_to_save": ("llama", {"lora_target_modules": "q_proj,v_proj", "lora_modules_to_save": "lm_head,embed_tokens"}),
    "layers": ("llama", {"lora_target_modules": "q_proj,up_proj", "lora_layers_to_transform": "1"}),
    "gpt2_lora": ("gpt2", {"lora_target_modules": "all-linear"}),
    "gpt2_dora": ("gpt2", {"lora_target_modules": GPT2_LINEAR, "use_dora": "true"}),
    "gpt2_pissa": ("gpt2", {"lora_target_modules": GPT2_LINEAR, "init_lora_weights": "pissa"}),
    "gpt2_embedding": ("gpt2", {"lora_target_modules": "wte,c_attn"}),
}
TEXTS = ["the sum of 12 and 7 is 19", "a row of words and 4 digits", "what follows from 3 and 5 is 8", "one more line"]


def write_bases(folder):
    """Both bases; returns name -> directory."""
    llama, gpt2 = folder / "llama", folder / "gpt2"
    tiny_model.write_model(llama)
    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_model.vocabulary()), n_positions=64, n_embd=32, n_layer=2, n_head=4,
                                       bos_token_id=0, eos_token_id=2, initializer_range=0.2))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() == 1:  # biases begin as zeros and norms as ones
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(gpt2)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (llama / name).exists():
            (gpt2 / name).write_bytes((llama / name).read_bytes())
    return {"llama": llama, "gpt2": gpt2}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def compare(base, adapter, scores):
    """The largest difference of a log-probability, how far the adapter moves one, and the number of tensors."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64).eval()
    without = [check_peft.score(plain, row["input_ids"])[0] for row in scores]
    model = PeftModel.from_pretrained(plain, adapter, autocast_adapter_dtype=False).to(torch.float64).eval()
    missing, count = check_peft.missing_keys(model, adapter)
    if missing:
        sys.exit(f"PEFT did not take {len(missing)} of {count} tensors of {adapter}, {missing[0]} among them")
    worst = effect = 0.0
    for row, before in zip(scores, without):
        logprobs = check_peft.score(model, row["input_ids"])[0]
        worst = max(worst, (logprobs - torch.tensor(row["logprobs"][1:], dtype=torch.float64)).abs().max().item())
        effect = max(effect, (logprobs - before).abs().max().item())
    return worst, effect, count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candor")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=2e-4)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        bases, rows, failed = write_bases(folder), folder / "rows.jsonl", []
        rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
        for kind, (base, keys) in KINDS.items():
            flags = [part for key, value in keys.items() for part in (f"--{key}", value)]
            run(options.candor, "sft", "--model_name_or_path", bases[base], "--dataset_name", rows, "--output_dir", folder / kind,
                "--lora_r", 4, "--lora_alpha", 8, "--max_steps", 4, "--learning_rate", 0.005, "--max_length", 64,
                "--per_device_train_batch_size", 4, *flags)
            adapter = folder / kind / "final"
            scored = run(options.candor, "score", bases[base], rows, "--adapter", adapter)
            worst, effect, count = compare(bases[base], adapter, [json.loads(line) for line in scored.splitlines()])
            print(f"{kind:16} {count:3} tensors   largest difference {worst:.1e}   the adapter moves log-probabilities by up to {effect:.1e}")
            if not worst <= options.tolerance or effect < 0.05:  # so that a NaN fails too
                failed.append(kind)
    return f"beyond the tolerance of {options.tolerance:g}, or without an effect: {', '.join(failed)}" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
