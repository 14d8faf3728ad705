"""A small Llama model as a Hugging Face directory, written byte by byte: no library but Python's own.

Random weights from a seed, 2 layers of width 32, the repository's test tokenizer and a ChatML-like template. An untrained
model is close to uniform over 282 tokens, where no reward would ever have spread; so the first column of every embedding
is 1 and that of the head a bias, which makes digits, letters and the end of turn likely.
"""
import json
import math
import pathlib
import random
import shutil
import struct

TOKENIZER = pathlib.Path(__file__).resolve().parent.parent / "golden" / "tokenizer" / "tokenizer.json"
TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
END_OF_TEXT, END_OF_TURN = 0, 2
CONTEXT = 128


def vocabulary():
    tokenizer = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    return tokenizer["model"]["vocab"]


def config(**changes):
    base = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "vocab_size": len(vocabulary()), "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": END_OF_TEXT, "eos_token_id": END_OF_TURN,
            "torch_dtype": "float32"}
    return {**base, **changes}


def bias(token):
    if token == "<|im_end|>":
        return 5.6
    if len(token) == 1 and token.isascii() and token.isdigit():
        return 5.0
    return 3.6 if len(token) == 1 and token.isascii() and token.islower() else 0.0


def weights(c, seed):
    """Name -> (shape, values)."""
    rng = random.Random(seed)
    width, inner = c["hidden_size"], c["intermediate_size"]
    queries, keys = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]

    def matrix(rows, columns, scale=1.0):
        deviation = scale / math.sqrt(columns)
        return [rows, columns], [rng.gauss(0, deviation) for _ in range(rows * columns)]

    def ones(n):
        return [n], [1.0] * n

    tensors = {"model.embed_tokens.weight": matrix(c["vocab_size"], width, 2.0), "model.norm.weight": ones(width)}
    for layer in range(c["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, rows, columns in (("self_attn.q_proj", queries, width), ("self_attn.k_proj", keys, width),
                                    ("self_attn.v_proj", keys, width), ("self_attn.o_proj", width, queries),
                                    ("mlp.gate_proj", inner, width), ("mlp.up_proj", inner, width),
                                    ("mlp.down_proj", width, inner)):
            tensors[f"{at}{name}.weight"] = matrix(rows, columns)
        for name, rows in (("q", queries), ("k", keys), ("v", keys)) if c["model_type"] == "qwen2" else ():
            tensors[f"{at}self_attn.{name}_proj.bias"] = [rows], [rng.gauss(0, 0.1) for _ in range(rows)]
        tensors[f"{at}input_layernorm.weight"] = ones(width)
        tensors[f"{at}post_attention_layernorm.weight"] = ones(width)
    tensors["lm_head.weight"] = matrix(c["vocab_size"], width, 0.7)
    for token, row in vocabulary().items():
        if row < c["vocab_size"]:
            tensors["model.embed_tokens.weight"][1][row * width] = 1.0
            tensors["lm_head.weight"][1][row * width] = bias(token)
    return tensors


def bfloat16(raw):
    """Float32 bytes rounded to bfloat16, to nearest even (no NaN comes here)."""
    bits = struct.unpack(f"<{len(raw) // 4}I", raw)
    return struct.pack(f"<{len(bits)}H", *((b + 0x7fff + (b >> 16 & 1)) >> 16 for b in bits))


def write_safetensors(path, tensors, stored="F32"):
    header, data, at = {}, [], 0
    for name, (shape, values) in sorted(tensors.items()):
        raw = struct.pack(f"<{len(values)}f", *values)
        data.append(bfloat16(raw) if stored == "BF16" else raw)
        header[name] = {"dtype": stored, "shape": shape, "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_safetensors(path):
    """Name -> the tensor's bytes."""
    raw = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + size])
    return {name: raw[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]]
            for name, entry in header.items() if name != "__metadata__"}


def write_model(folder, seed=1, template=TEMPLATE, stored="F32", **changes):
    """Makes the directory and returns it."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    c = config(**changes)
    (folder / "config.json").write_text(json.dumps(c, indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": c["eos_token_id"]}))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", "chat_template": template}))
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
    write_safetensors(folder / "model.safetensors", weights(c, seed), stored)
    return folder
