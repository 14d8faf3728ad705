#include "text/bpe_trainer.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/check.h"
#include "text/bpe_byte_alphabet.h"
#include "text/pretokenizer.h"
#include "text/unicode.h"

namespace candor::text {

namespace {

using Json = nlohmann::ordered_json;
using Pair = std::pair<int32_t, int32_t>;

// A word of the text as the symbols that it consists of so far, and how often it occurs.
struct Word {
  std::vector<int32_t> symbols;
  int64_t count = 0;
};

struct Training {
  std::vector<std::string> tokens;     // by id, in the byte alphabet
  std::map<std::string, int32_t> ids;  // of them
  std::vector<Pair> merges;
  std::vector<Word> words;
  std::map<Pair, int64_t> counts;           // of neighbours, over all words
  std::map<Pair, std::set<size_t>> places;  // words that hold, or held, the pair
};

const char* kPreTokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
                            R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})";

int32_t add_token(Training& t, const std::string& token) {
  const auto [place, is_new] = t.ids.emplace(token, static_cast<int32_t>(t.tokens.size()));
  if (is_new) t.tokens.push_back(token);
  return place->second;
}

void count_pairs(Training& t, size_t word, int64_t sign) {
  const Word& w = t.words[word];
  for (size_t i = 0; i + 1 < w.symbols.size(); ++i) {
    const Pair pair(w.symbols[i], w.symbols[i + 1]);
    t.counts[pair] += sign * w.count;
    if (sign > 0) t.places[pair].insert(word);
  }
}

// The commonest pair, the smallest of several; none that occurs twice: count 0.
std::pair<Pair, int64_t> commonest(const Training& t) {
  std::pair<Pair, int64_t> best{{0, 0}, 1};
  for (const auto& [pair, count] : t.counts)
    if (count > best.second) best = {pair, count};
  return best.second > 1 ? best : std::pair<Pair, int64_t>{{0, 0}, 0};
}

void merge(Training& t, const Pair& pair) {
  const int32_t merged = add_token(t, t.tokens[pair.first] + t.tokens[pair.second]);
  t.merges.push_back(pair);
  const std::set<size_t> words = std::move(t.places[pair]);
  t.places.erase(pair);
  for (const size_t i : words) {
    count_pairs(t, i, -1);
    std::vector<int32_t> symbols;
    const std::vector<int32_t>& old = t.words[i].symbols;
    for (size_t k = 0; k < old.size(); ++k) {
      const bool here = k + 1 < old.size() && old[k] == pair.first && old[k + 1] == pair.second;
      symbols.push_back(here ? merged : old[k]);
      k += here;
    }
    t.words[i].symbols = std::move(symbols);
    count_pairs(t, i, 1);
  }
  t.counts.erase(pair);
}

Result<std::map<std::string, int64_t>> count_words(std::span<const std::string> texts) {
  const PreTokenizer splitter = TRY(parse_pre_tokenizer(nlohmann::json::parse(kPreTokenizer), "tokenizer"));
  std::map<std::string, int64_t> counts;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    if (const auto bad = find_invalid_utf8(texts[i]))
      return error("[tokenizer] text {} is no UTF-8 at byte {}.", i + 1, *bad);
    std::vector<std::string> pieces = {texts[i]};
    TRY(pre_tokenize(splitter, pieces));
    for (const std::string& piece : pieces) ++counts[piece];
  }
  return counts;
}

std::string tokenizer_json(const Training& t, size_t special) {
  Json added = Json::array(), vocabulary = Json::object(), merges = Json::array();
  for (size_t id = 0; id < t.tokens.size(); ++id) {
    vocabulary[t.tokens[id]] = id;
    if (id < special)
      added.push_back({{"id", id},
                       {"content", t.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
  }
  for (const auto& [left, right] : t.merges) merges.push_back(Json::array({t.tokens[left], t.tokens[right]}));
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", Json::parse(kPreTokenizer)},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", vocabulary},
                       {"merges", merges}}}};
  return file.dump() + "\n";
}

}  // namespace

Result<std::string> train_bpe(std::span<const std::string> texts, const BpeTrainerOptions& options) {
  Training t;
  for (const std::string& token : options.special_tokens) add_token(t, token);
  const size_t special = t.tokens.size();
  for (int byte = 0; byte < 256; ++byte) add_token(t, to_byte_alphabet(std::string(1, static_cast<char>(byte))));
  const auto smallest = static_cast<int64_t>(t.tokens.size());
  if (options.vocab_size < smallest)
    return error("[tokenizer] vocab_size {} is less than the {} special tokens and 256 bytes. Give at least {}.",
                 options.vocab_size, special, smallest);
  const auto counts = TRY(count_words(texts));
  for (const auto& [text, count] : counts) {
    Word word{{}, count};
    std::string bytes;
    append_from_byte_alphabet(bytes, text);
    for (const char byte : bytes) word.symbols.push_back(t.ids.at(to_byte_alphabet(std::string(1, byte))));
    t.words.push_back(std::move(word));
  }
  for (size_t i = 0; i < t.words.size(); ++i) count_pairs(t, i, 1);
  while (static_cast<int64_t>(t.tokens.size()) < options.vocab_size) {
    const auto [pair, count] = commonest(t);
    if (count == 0) break;
    merge(t, pair);
  }
  return tokenizer_json(t, special);
}

}  // namespace candor::text
