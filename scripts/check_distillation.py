#!/usr/bin/env python3
"""Trains a small student by TRL's GKDTrainer and by `candor distill`, and compares the losses step by step and the final weights.

usage: check_distillation.py CANDOR_BINARY [--tolerance 1e-4]

Every weight of a small random Llama learns from another one on given rows (lmbda 0), at beta 0, 0.5 and 1. A step takes all rows, so that no
order matters. Both sides compute in float32. Needs torch, transformers and trl 1.16: the environment of bench/README.md. Exits 1 beyond the
tolerance, which two float32 implementations of six AdamW steps stay well below; another end of the divergence is off by 1e-2 and more.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer

import tiny_model

STEPS, RATE = 6, 1e-3


def rows():
    return [{"messages": [{"role": "user", "content": f"What is {i} + {i * i % 7}?"}, {"role": "assistant", "content": f"{i + i * i % 7} or so"}]}
            for i in range(8)]


class Losses(TrainerCallback):
    def __init__(self):
        self.losses = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def by_trl(folder, beta):
    tokenizer = AutoTokenizer.from_pretrained(folder / "student")
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(1)
    models = [AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32) for name in ("student", "teacher")]
    config = GKDConfig(output_dir=str(folder / "trl"), lmbda=0.0, beta=beta, max_steps=STEPS, per_device_train_batch_size=8, learning_rate=RATE,
                       lr_scheduler_type="constant", max_length=64, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, bf16=False,
                       gradient_checkpointing=False, max_grad_norm=1.0, seed=1)
    seen = Losses()
    trainer = GKDTrainer(model=models[0], teacher_model=models[1], args=config, train_dataset=Dataset.from_list(rows()), processing_class=tokenizer,
                         callbacks=[seen])
    trainer.train()
    return seen.losses, {name: tensor.detach().clone() for name, tensor in models[0].state_dict().items()}


def by_candor(candor, folder, beta):
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    run = folder / f"candor_{beta}"
    keys = {"model_name_or_path": folder / "student", "teacher_model_name_or_path": folder / "teacher", "dataset_name": data, "output_dir": run,
            "lmbda": 0, "beta": beta, "max_steps": STEPS, "per_device_train_batch_size": 8, "learning_rate": RATE, "lr_scheduler_type": "constant",
            "max_length": 64, "dtype": "float32", "logging_steps": 1}
    subprocess.run([candor, "distill", *[str(word) for key, value in keys.items() for word in (f"--{key}", value)]], check=True,
                   stdout=subprocess.DEVNULL)
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    return losses, load_file(run / "final" / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candor")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tiny_model.write_model(folder / "student")
        tiny_model.write_model(folder / "teacher", seed=3)
        for beta in (0.0, 0.5, 1.0):
            (theirs, weights), (ours, own) = by_trl(folder, beta), by_candor(options.candor, folder, beta)
            loss = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
            weight = max(float((own[key] - weights[key]).abs().max()) for key in own)
            print(f"beta {beta}: loss {ours[0]:.6f} to {ours[-1]:.6f}; largest difference of the loss {loss:.2e}, of a weight {weight:.2e}")
            worst = max(worst, loss, weight)
    return 0 if worst <= options.tolerance else f"beyond {options.tolerance}"


if __name__ == "__main__":
    sys.exit(main())
