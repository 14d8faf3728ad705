// Added tokens: fixed strings that are cut out of the text before it is normalized and split.
//
// Matching is leftmost-longest, as in the Hugging Face library. Tokens with `normalized` are searched in the normalized
// text of what the others left, by their normalized content; that content is also what they decode to.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace candor::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;       // what is searched and what the id decodes to
  bool single_word = false;  // no word character may touch it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // … and behind it
  bool normalized = false;
  bool special = false;
  bool skipped = false;  // skip_special_tokens leaves it out of decoded text
};

class AddedTokens {
 public:
  void add(AddedToken token);  // the content is not empty
  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  bool empty() const { return by_id_.empty(); }

  struct Segment {
    std::string_view text;
    const AddedToken* token;  // nullptr: text between added tokens, not empty
  };
  // Cuts `text` at the tokens whose `normalized` is as given. Without `parse_special` special tokens stay text.
  std::vector<Segment> split(std::string_view text, bool normalized, bool parse_special) const;

 private:
  // The tokens of one search, found by their first byte and length.
  struct Index {
    std::unordered_map<std::string_view, const AddedToken*> by_content;
    std::array<std::vector<size_t>, 256> lengths;  // by first byte, longest first
  };
  const AddedToken* longest_at(const Index& index, std::string_view text, size_t at) const;

  std::map<int32_t, AddedToken> by_id_;
  Index raw_, normalized_;
};

}  // namespace candor::text
