#!/usr/bin/env python3
"""Writes a GGUF file's dequantized weights as a Hugging Face directory in float32, for the peers (README.md beside this file).

usage: gguf_to_hf.py MODEL.gguf DIRECTORY          in an environment with torch, transformers and gguf
"""
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

if len(sys.argv) != 3:
    sys.exit(__doc__)
gguf, directory = sys.argv[1:]
folder, name = os.path.split(os.path.abspath(gguf))
loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
config = loaded.config
if hasattr(config, "quantization_config"):
    del config.quantization_config
# A fresh model takes the weights: the loaded one remembers that it was quantized, and refuses to be saved as anything else.
model = AutoModelForCausalLM.from_config(config).to(torch.float32)
model.load_state_dict(loaded.state_dict())
model.tie_weights()
model.save_pretrained(directory)
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(directory)
