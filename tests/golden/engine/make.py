"""Writes expected.json beside this file: what the random model of src/engine/testing.h must compute.

A decoder with LoRA in plain Python doubles, from the formulas; it shares no code with the engine, the random numbers
(Philox4x32-10, Salmon et al. 2011) included. Derivatives are central differences, so no backward pass is written here.
Run: python3 tests/golden/engine/make.py   (about a minute)
"""
import json
import math
import pathlib
import struct
from operator import mul

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 40, 72, 3, 6, 2, 12, 1100
EPSILON, THETA = 1e-5, 10000.0
MODEL_SEED, ADAPTER_SEED, RANK, SCALE = 1, 7, 4, 2.0  # alpha 8
TEMPERATURE = 0.7
INITIALISATION, DATA = 3, 5  # random streams
LINEARS = {"self_attn.q_proj": (72, 40, 2), "self_attn.k_proj": (24, 40, 2), "self_attn.v_proj": (24, 40, 1),
           "self_attn.o_proj": (40, 72, 1), "mlp.gate_proj": (72, 40, 1), "mlp.up_proj": (72, 40, 1),
           "mlp.down_proj": (40, 72, 1)}  # out, in, multiple of the spread


def words(seed, stream, step, row, position):
    m = 0xFFFFFFFF
    c = [position & m, position >> 32 & m, row, stream << 24 ^ step]
    k0, k1 = seed & m, seed >> 32 & m
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & m, p0 >> 32 ^ c[3] ^ k1, p0 & m]
        k0, k1 = k0 + 0x9E3779B9 & m, k1 + 0xBB67AE85 & m
    return c[0] << 32 | c[1]


def uniform(*key):
    return (words(*key) >> 11) * 2.0**-53


def rounded(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def ids(count, row):
    return [words(99, DATA, 2, row, i) * VOCABULARY >> 64 for i in range(count)]


def weights():
    spread = 1.5 / math.sqrt(HIDDEN)
    named = [("embed", VOCABULARY, HIDDEN, 1.0, 0.0), ("head", VOCABULARY, HIDDEN, 3 * spread, 0.0),
             ("norm", HIDDEN, 1, 0.2, 1.0)]
    for layer in range(LAYERS):
        named += [(f"{layer}.first", HIDDEN, 1, 0.2, 1.0), (f"{layer}.second", HIDDEN, 1, 0.2, 1.0)]
        named += [(f"{layer}.{n}", rows, cols, times * spread, 0.0) for n, (rows, cols, times) in LINEARS.items()]
    out = {}
    for number, (name, rows, cols, spread, centre) in enumerate(named, 1):
        flat = [rounded(centre + spread * (2.0 * uniform(MODEL_SEED, DATA, 0, number, i) - 1.0)) for i in range(rows * cols)]
        out[name] = flat if cols == 1 else [flat[r * cols:(r + 1) * cols] for r in range(rows)]
    return out


def adapter():
    pairs = {}
    for layer in range(LAYERS):
        for n, (rows, cols, _) in LINEARS.items():
            number, bound = len(pairs), 1.0 / math.sqrt(cols)
            a = [[rounded((2.0 * uniform(ADAPTER_SEED, INITIALISATION, 0, number, r * cols + k) - 1.0) * bound)
                  for k in range(cols)] for r in range(RANK)]
            b = [[rounded(0.1 * (2.0 * uniform(ADAPTER_SEED, DATA, 1, number, r * RANK + k) - 1.0)) for k in range(RANK)]
                 for r in range(rows)]
            pairs[f"{layer}.{n}"] = (a, b)
    return pairs


def product(matrix, x):
    return [sum(map(mul, row, x)) for row in matrix]


def add(x, y):
    return [a + b for a, b in zip(x, y)]


def rms(x, w):
    factor = 1.0 / math.sqrt(sum(v * v for v in x) / len(x) + EPSILON)
    return [v * factor * g for v, g in zip(x, w)]


def rotated(x, position):
    out, half = list(x), HEAD_DIM // 2
    for head in range(0, len(x), HEAD_DIM):
        for i in range(half):
            angle = position * THETA ** (-2.0 * i / HEAD_DIM)
            a, b = x[head + i], x[head + i + half]
            out[head + i] = a * math.cos(angle) - b * math.sin(angle)
            out[head + i + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def attend(q, keys, values):
    out = []
    for head in range(HEADS):
        kv = head * KV_HEADS // HEADS * HEAD_DIM
        mine = q[head * HEAD_DIM:(head + 1) * HEAD_DIM]
        e = [math.exp(sum(map(mul, mine, k[kv:kv + HEAD_DIM])) / math.sqrt(HEAD_DIM)) for k in keys]
        out += [sum(p * v[kv + i] for p, v in zip(e, values)) / sum(e) for i in range(HEAD_DIM)]
    return out


def hidden_states(w, lora, tokens):
    def linear(name, x):
        y = product(w[name], x)
        if name in lora:
            a, b = lora[name]
            y = add(y, [SCALE * v for v in product(b, product(a, x))])
        return y

    x = [w["embed"][t] for t in tokens]
    for layer in range(LAYERS):
        keys, values = [], []
        for t, row in enumerate(x):
            normed = rms(row, w[f"{layer}.first"])
            q = rotated(linear(f"{layer}.self_attn.q_proj", normed), t)
            keys.append(rotated(linear(f"{layer}.self_attn.k_proj", normed), t))
            values.append(linear(f"{layer}.self_attn.v_proj", normed))
            row = add(row, linear(f"{layer}.self_attn.o_proj", attend(q, keys, values)))
            normed = rms(row, w[f"{layer}.second"])
            gate, up = linear(f"{layer}.mlp.gate_proj", normed), linear(f"{layer}.mlp.up_proj", normed)
            x[t] = add(row, linear(f"{layer}.mlp.down_proj", [g / (1.0 + math.exp(-g)) * u for g, u in zip(gate, up)]))
    return [rms(row, w["norm"]) for row in x]


def statistics(w, lora, prompt, completion):
    """(log-probability, entropy) of each completion token, and the last logits."""
    out = []
    for h, token in zip(hidden_states(w, lora, prompt + completion[:-1])[len(prompt) - 1:], completion):
        logits = product(w["head"], h)
        z = [v / TEMPERATURE for v in logits]
        top = max(z)
        log_sum = top + math.log(sum(math.exp(v - top) for v in z))
        out.append((z[token] - log_sum, log_sum - sum(math.exp(v - log_sum) * v for v in z)))
    return out, logits


def objective(w, lora, prompt, completion):
    rows, _ = statistics(w, lora, prompt, completion)
    return sum((0.3 * (i % 5) - 0.5) * l + (0.2 * (i % 3) - 0.1) * e for i, (l, e) in enumerate(rows))


def moved(matrix, step):
    return [[v + (step if (r + c) % 3 else -step) for c, v in enumerate(row)] for r, row in enumerate(matrix)]


def main():
    w, lora, prompt, completion = weights(), adapter(), ids(21, 1), ids(14, 3)
    policy, logits = statistics(w, lora, prompt, completion)
    reference, _ = statistics(w, {}, prompt, completion)
    derivatives = {}
    for name, (a, b) in lora.items():
        for which in "AB":
            def at(step):
                pair = (moved(a, step), b) if which == "A" else (a, moved(b, step))
                return objective(w, {**lora, name: pair}, prompt, completion)
            h = 1e-4
            derivatives[f"model.layers.{name}.lora_{which}"] = (at(h) - at(-h)) / (2 * h)
    expected = {"prompt": prompt, "completion": completion, "logprobs": [l for l, _ in policy],
                "entropy": [e for _, e in policy], "reference_logprobs": [l for l, _ in reference],
                "last_logits_every_50th": logits[::50], "derivatives": derivatives}
    path = pathlib.Path(__file__).parent / "expected.json"
    path.write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
