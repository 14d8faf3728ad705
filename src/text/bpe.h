// Byte-pair encoding: a word's characters, merged pair by pair in the order of the merge list (Sennrich et al.,
// arXiv 1508.07909). The word comes in the alphabet of the vocabulary; for byte-level models that is the byte alphabet,
// so a character is a byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/tokenizer_vocabulary.h"

namespace candor::text {

struct BpeOptions {
  std::optional<std::string> unk_token = {};  // for characters outside the vocabulary; without it they vanish
  bool fuse_unk = false;                      // a run of unknown characters is one unk_token
  bool ignore_merges = false;                 // a word that is a token is that token, whatever the merges say
  std::optional<std::string> continuing_subword_prefix = {};  // in front of every character but a word's first
  std::optional<std::string> end_of_word_suffix = {};         // behind a word's last character
};

struct Bpe {
  struct Merge {
    uint32_t rank;  // lower merges first
    int32_t id;     // of the result
  };
  BpeOptions options;
  std::optional<int32_t> unk_id;
  std::unordered_map<uint64_t, Merge> merges;  // by (left id << 32 | right id)
};

// `merges` in order; both parts and their result must be in the vocabulary. A pair that stands twice has its last rank.
Result<Bpe> make_bpe(const Vocabulary& vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
                     BpeOptions options, std::string_view where);

// Appends the ids of one word (not empty, valid UTF-8). O(n log n) in its length.
void encode_word(const Bpe& bpe, const Vocabulary& vocabulary, std::string_view word, std::vector<int32_t>& ids);

}  // namespace candor::text
