"""Writes dora_embed beside this file: DoRA on an embedding, as PEFT computes it, in the format of shared/golden/adapters.

The run itself (float64 reference, float32 differences) is shared/golden/make_adapters.py's; only the adapter is another.
Run: python tests/golden/adapters/make.py SHARED/golden   (torch, transformers and peft; its README names the versions)
"""
import pathlib
import sys

sys.path.insert(0, sys.argv[1])
import torch
from peft import LoraConfig, get_peft_model

import make_adapters

NAME, BASE, SEED = "dora_embed", "llama", 2040
NOTE = ("The embedding's magnitudes are one for each hidden dimension: m * (W + s A^T B^T) / n, with n the norm of a column over the whole "
        "vocabulary, detached. Saved with save_embedding_layers=False, so the base's embedding is not in the file.")

make_adapters.OUT = pathlib.Path(__file__).resolve().parent
directory = make_adapters.fresh(NAME)
torch.manual_seed(SEED)
model = get_peft_model(make_adapters.load32(make_adapters.MODELS / BASE),
                       LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["embed_tokens", "q_proj"], use_dora=True)).eval()
make_adapters.randomize(model, SEED)
make_adapters.save_adapter(model, directory, BASE, save_embedding_layers=False)
make_adapters.golden(directory, NAME, BASE, SEED, "DoRA on embed_tokens and q_proj", "model.embed_tokens", NOTE)
