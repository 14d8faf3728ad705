#include "text/bpe.h"

#include <queue>

#include "text/unicode.h"

namespace candor::text {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

// A doubly linked list in an array; a symbol that was merged away has id -1.
struct Symbol {
  int32_t id;
  int32_t previous, next;  // -1 at the ends
};

std::vector<Symbol> initial_symbols(const Bpe& bpe, const Vocabulary& vocabulary, std::string_view word) {
  const BpeOptions& options = bpe.options;
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  const auto push = [&](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1});
  };
  bool previous_unknown = false;
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const size_t length = utf8_unit(word, at).length;
    std::string_view character = word.substr(at, length);
    const bool prefix = at > 0 && options.continuing_subword_prefix;
    const bool suffix = at + length == word.size() && options.end_of_word_suffix;
    if (prefix || suffix) {
      decorated = prefix ? *options.continuing_subword_prefix : std::string();
      decorated += character;
      if (suffix) decorated += *options.end_of_word_suffix;
      character = decorated;
    }
    const auto id = vocabulary.id_of(character);
    if (id) {
      push(*id);
    } else if (bpe.unk_id && !(options.fuse_unk && previous_unknown)) {
      push(*bpe.unk_id);
    }
    previous_unknown = !id;
    at += length;
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

void merge_symbols(const Bpe& bpe, std::vector<Symbol>& symbols) {
  struct Candidate {
    uint32_t rank;
    int32_t at;           // the left symbol
    int32_t left, right;  // the ids it was found for
    int32_t id;
    bool operator<(const Candidate& other) const {  // the top of the queue: lowest rank, then leftmost
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t at) {
    if (at < 0 || symbols[at].next < 0) return;
    const int32_t left = symbols[at].id, right = symbols[symbols[at].next].id;
    const auto found = bpe.merges.find(pair_key(left, right));
    if (found != bpe.merges.end()) queue.push({found->second.rank, at, left, right, found->second.id});
  };
  for (size_t at = 0; at + 1 < symbols.size(); ++at) consider(static_cast<int32_t>(at));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.at];
    if (left.id != top.left || left.next < 0 || symbols[left.next].id != top.right) continue;  // out of date
    Symbol& right = symbols[left.next];
    left.id = top.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = top.at;
    consider(left.previous);
    consider(top.at);
  }
}

}  // namespace

Result<Bpe> make_bpe(const Vocabulary& vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
                     BpeOptions options, std::string_view where) {
  Bpe bpe;
  if (options.unk_token) bpe.unk_id = vocabulary.id_of(*options.unk_token);
  const size_t prefix = options.continuing_subword_prefix ? options.continuing_subword_prefix->size() : 0;
  bpe.merges.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    if (right.size() < prefix) return error("{}: merge {}: {:?} has no prefix.", where, rank, right);
    const std::string result = left + right.substr(prefix);
    std::vector<int32_t> ids;
    for (const std::string* token : {&left, &right, &result}) {
      const auto id = vocabulary.id_of(*token);
      if (!id) {
        return error("{}: merge {} ({:?} with {:?}) needs the token {:?}, which the vocabulary lacks.", where, rank,
                     left, right, *token);
      }
      ids.push_back(*id);
    }
    bpe.merges[pair_key(ids[0], ids[1])] = {static_cast<uint32_t>(rank), ids[2]};
  }
  bpe.options = std::move(options);
  return bpe;
}

void encode_word(const Bpe& bpe, const Vocabulary& vocabulary, std::string_view word, std::vector<int32_t>& ids) {
  if (bpe.options.ignore_merges) {
    if (const auto id = vocabulary.id_of(word)) {
      ids.push_back(*id);
      return;
    }
  }
  std::vector<Symbol> symbols = initial_symbols(bpe, vocabulary, word);
  merge_symbols(bpe, symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id >= 0) ids.push_back(symbol.id);
  }
}

}  // namespace candor::text
