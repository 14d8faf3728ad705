"""Writes tokenizer.json (a tiny SmolLM2-like byte-level BPE) and expected.json beside this file.

The ids are computed here without the library under test: words by Python's re, merges by a plain search for the lowest
rank. Run: python3 tests/golden/tokenizer/make.py
"""
import json
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["t h", "th e", "Ġ the", "h e", "i n", "Ġ a", "Ġa n", "Ġan d", "e r", "Ġ c", "o r", "Ġc a", "n d", "Ġca nd", "Ġcand or",
          "l l", "he ll", "hell o", "' s", "Ġ Ġ", "í ķ", "íķ ľ", "Ċ Ċ"]
TEXTS = ["", " ", "hello", "the candor", "the  theory and the other", "hello's in 2024!", "  lead and trail  ", "a\n\nb\r\n\tc",
         "한국어 and 한", "<|im_start|>user\nhello<|im_end|>\n", "x<|im_end|><|im_end|> y", "caf\u00e9 \u20ac5", "candorcandor candor"]

bytes_printed = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b != 0xAD]
alphabet = {b: chr(b) for b in bytes_printed}
alphabet.update({b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in bytes_printed)})

vocab = {token: i for i, token in enumerate(SPECIAL + sorted(alphabet.values()))}
for merge in MERGES:
    vocab[merge.replace(" ", "")] = len(vocab)
ranks = {tuple(merge.split(" ")): n for n, merge in enumerate(MERGES)}


def bpe(word):
    parts = [alphabet[b] for b in word.encode()]
    while True:
        best = min((ranks[pair], i) for i, pair in enumerate(zip(parts, parts[1:])) if pair in ranks) if any(
            pair in ranks for pair in zip(parts, parts[1:])) else None
        if best is None:
            return [vocab[part] for part in parts]
        parts[best[1]:best[1] + 2] = ["".join(parts[best[1]:best[1] + 2])]


# Digits alone, then GPT-2's pattern; these texts hold no digits but ASCII ones, so [^\W\d_] is \p{L}.
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?[0-9]+| ?[^\s0-9\w]+|\s+(?!\S)|\s+")


def encode(text):
    ids = []
    for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text):
        if part in SPECIAL:
            ids.append(SPECIAL.index(part))
            continue
        for piece in re.split("([0-9])", part):
            for word in WORDS.findall(piece):
                ids += bpe(word)
    return ids


added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
         for i, token in enumerate(SPECIAL)]
byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [], "special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0], "tokens": [SPECIAL[0]]}}},
    "decoder": byte_level,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": MERGES}}
(FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n")
cases = [json.dumps({"text": text, "ids": encode(text)}) for text in TEXTS]
(FOLDER / "expected.json").write_text("[\n" + ",\n".join(cases) + "\n]\n")
