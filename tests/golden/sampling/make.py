"""Writes expected.json beside this file: what Transformers draws from, for given logits, history and settings.

The processors come from GenerationMixin._get_logits_processor, so their order is the library's own; `logprobs` is the
log-softmax of what they leave (null: removed). Logits are multiples of 1/64 without ties, so they are exact in text.
Run with a Python that has torch and transformers 5.23: python tests/golden/sampling/make.py
"""
import json
import pathlib
import random

import torch
import transformers

VOCABULARY = 24
CASES = [
    {"temperature": 0.6},
    {"min_p": 0.05},
    {"min_p": 0.2, "temperature": 1.7},
    {"min_p": 1.0},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7, "temperature": 0.8},
    {"logit_bias": {3: 2.5, 7: -4.0, 19: 0.75}},
    {"logit_bias": {3: 2.5, 5: -9.0}, "repetition_penalty": 1.5},
    {"bad_words": [[4], [11], [2]]},
    {"bad_words": [[9, 17, 6], [17, 8], [5, 17, 10], [17, 17, 12]]},
    {"top_k": 7},
    {"top_k": 1},
    {"top_p": 0.8},
    {"top_k": 10, "top_p": 0.9, "temperature": 1.4},
    {"top_k": 12, "top_p": 0.95, "min_p": 0.1, "temperature": 1.6},
    {"top_p": 0.97, "min_p": 0.04, "temperature": 1.3, "repetition_penalty": 1.2},
    {"logit_bias": {0: 3.0, 17: 1.0}, "repetition_penalty": 1.1, "bad_words": [[17, 0], [1]], "temperature": 0.9,
     "top_k": 9, "top_p": 0.93, "min_p": 0.03},
]
EOS = 2  # a bad word that is the end of sequence alone is no bad word to Transformers
PROMPT, COMPLETION = [5, 1, 3, 3], [9, 17]


def model():
    config = transformers.LlamaConfig(vocab_size=VOCABULARY, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                      num_attention_heads=1, num_key_value_heads=1, eos_token_id=EOS)
    return transformers.LlamaForCausalLM(config)


def processed(mixin, logits, case):
    given = {key: case[key] for key in ("temperature", "top_p", "min_p", "repetition_penalty") if key in case}
    given["top_k"] = case.get("top_k", 0)
    if "bad_words" in case:
        given["bad_words_ids"] = case["bad_words"]
    if "logit_bias" in case:
        given["sequence_bias"] = [[[token], bias] for token, bias in case["logit_bias"].items()]
    generation = transformers.GenerationConfig(do_sample=True, eos_token_id=EOS, pad_token_id=0, **given)
    mixin._prepare_special_tokens(generation, device="cpu")
    chain = mixin._get_logits_processor(generation, input_ids_seq_length=len(PROMPT), device="cpu", model_kwargs={})
    scores = chain(torch.tensor([PROMPT + COMPLETION]), torch.tensor([logits]))
    return torch.log_softmax(scores.double(), -1)[0].tolist()


def main():
    rng = random.Random(3)
    mixin = model()
    cases = []
    for case in CASES:
        logits = [value / 64 for value in rng.sample(range(-150, 200), VOCABULARY)]
        logprobs = [None if value == float("-inf") else value for value in processed(mixin, logits, case)]
        kept = {**case, "bad_words": [words for words in case.get("bad_words", []) if words != [EOS]]}
        kept["logit_bias"] = [[token, bias] for token, bias in case.get("logit_bias", {}).items()]
        cases.append({**kept, "logits": logits, "logprobs": logprobs})
    path = pathlib.Path(__file__).resolve().parent / "expected.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f'{{"transformers": "{transformers.__version__}", "prompt": {PROMPT}, "completion": {COMPLETION}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
