#!/usr/bin/env python3
"""llama.cpp (llama-cpp-python) on one GGUF file: prefill of 512 tokens, decode with 1, 16 and 32 rows, in tokens per second.

usage: llama.py MODEL.gguf [--threads N]

Each figure is the median of three. Decoding starts behind prompts of 32 tokens and counts 32 tokens of each row, as `candor bench`
does; the tokens are random, and nothing is sampled. Prints one JSON line.
"""
import argparse
import json
import random
import statistics
import time

import llama_cpp

PROMPT, TOKENS = 32, 32


class Model:
    def __init__(self, path, threads):
        llama_cpp.llama_backend_init()
        self.silent = llama_cpp.llama_log_callback(lambda *_: None)  # must outlive the library's use of it
        llama_cpp.llama_log_set(self.silent, None)
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"[llama.py] {path} cannot be loaded")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.threads = threads

    def context(self, rows, tokens):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = rows * tokens, 512, 512
        params.n_seq_max, params.kv_unified = rows, True
        params.n_threads = params.n_threads_batch = self.threads
        return llama_cpp.llama_init_from_model(self.model, params)


def decode(context, entries):
    """entries: (token, position, row, wants logits)."""
    batch = llama_cpp.llama_batch_init(len(entries), 0, 1)
    batch.n_tokens = len(entries)
    for i, (token, position, row, logits) in enumerate(entries):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, logits
        batch.seq_id[i][0] = row
    if llama_cpp.llama_decode(context, batch) != 0:
        raise SystemExit("[llama.py] llama_decode failed")
    llama_cpp.llama_synchronize(context)
    llama_cpp.llama_batch_free(batch)


def prefill(model, draw):
    context = model.context(1, 512)
    ids = [draw.randrange(100, 20000) for _ in range(512)]
    start = time.perf_counter()
    decode(context, [(token, i, 0, i == 511) for i, token in enumerate(ids)])
    seconds = time.perf_counter() - start
    llama_cpp.llama_free(context)
    return 512 / seconds


def generate(model, rows, draw):
    context = model.context(rows, PROMPT + TOKENS + 8)
    for row in range(rows):
        decode(context, [(draw.randrange(100, 20000), i, row, i == PROMPT - 1) for i in range(PROMPT)])
    start = time.perf_counter()
    for step in range(TOKENS):
        decode(context, [(draw.randrange(100, 20000), PROMPT + step, row, 1) for row in range(rows)])
    seconds = time.perf_counter() - start
    llama_cpp.llama_free(context)
    return rows * TOKENS / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    model, draw = Model(options.model, options.threads), random.Random(0)

    def median(work):
        work()
        return round(statistics.median(work() for _ in range(3)), 1)

    figures = {"prefill_512": median(lambda: prefill(model, draw))}
    for rows in (1, 16, 32):
        figures[f"decode_b{rows}"] = median(lambda: generate(model, rows, draw))
    print(json.dumps({"peer": "llama.cpp", "llama_cpp_python": llama_cpp.__version__, "file": options.model.rsplit("/", 1)[-1],
                      "system": llama_cpp.llama_print_system_info().decode().strip(), **figures}))


if __name__ == "__main__":
    main()
