#!/usr/bin/env python3
"""What models of five sizes would take, by candor plan: memory_table.py CANDOR. Prints the tables of docs/memory.md.

Nothing is downloaded and nothing loaded: each model is a config.json of its shapes. GiB at the peak.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

COMMON = {"model_type": "llama", "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "bfloat16"}


def llama(hidden, inner, layers, heads, kv_heads, vocabulary, context, tied, **more):
    return {**COMMON, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "vocab_size": vocabulary, "max_position_embeddings": context, "tie_word_embeddings": tied, **more}


MODELS = {
    "SmolLM2-135M": llama(576, 1536, 30, 9, 3, 49152, 8192, True),
    "Qwen2.5-0.5B": llama(896, 4864, 24, 14, 2, 151936, 32768, True, model_type="qwen2"),
    "Llama 3.2 1B": llama(2048, 8192, 16, 32, 8, 128256, 131072, True, head_dim=64),
    "Llama 2 7B": llama(4096, 11008, 32, 32, 32, 32000, 4096, False),
    "Llama 3 70B": llama(8192, 28672, 80, 64, 8, 128256, 8192, False),
}
SFT = ["sft", "--max_length", "512", "--per_device_train_batch_size", "8", "--gradient_shards", "1"]
WORK = {
    "generate": ["generate", "--generation_rows", "16", "--prompt_tokens", "512", "--max_new_tokens", "256"],
    "SFT, LoRA": [*SFT, "--lora_r", "16"],
    "GRPO, LoRA": ["grpo", "--lora_r", "16", "--per_device_train_batch_size", "32", "--num_generations", "8", "--max_prompt_length", "256",
                   "--max_completion_length", "256", "--gradient_shards", "1"],
    "SFT, every weight": SFT,
}
DTYPES = ["float32", "bfloat16", "int8", "int4"]


def asked(candor, *words):
    """The JSON of candor plan, or None where the recipe does not go with the dtype."""
    done = subprocess.run([candor, "plan", *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    return json.loads(done.stdout) if done.stdout else None


def gib(size):
    value = size / 2**30
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def peak(candor, config, words, dtype):
    model = [str(config)] if words[0] == "generate" else ["--model", str(config)]
    plan = asked(candor, words[0], *model, *words[1:], "--dtype", dtype, "--max_memory", "900TB")
    return "–" if plan is None else gib(plan["peak_bytes"])


def main():
    candor = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        configs = {}
        for name, shapes in MODELS.items():
            configs[name] = pathlib.Path(folder) / f"{len(configs)}.json"
            configs[name].write_text(json.dumps(shapes))
        print("| " + " | ".join(["", "dtype", *MODELS]) + " |\n|" + "---|" * (2 + len(MODELS)))
        for work, words in WORK.items():
            for dtype in DTYPES:
                cells = [peak(candor, config, words, dtype) for config in configs.values()]
                if any(cell != "–" for cell in cells):
                    print("| " + " | ".join([work if dtype == DTYPES[0] else "", dtype, *cells]) + " |")
        print("\n| four roles | " + " | ".join(f"{dtype}, one base | four" for dtype in DTYPES) + " |\n|" + "---|" * (1 + 2 * len(DTYPES)))
        for name, config in configs.items():
            roles = [asked(candor, "roles", str(config), "--dtype", dtype) for dtype in DTYPES]
            print(f"| {name} | " + " | ".join(f"{gib(r['one_base_bytes'])} | {gib(r['four_bases_bytes'])}" for r in roles) + " |")


if __name__ == "__main__":
    main()
