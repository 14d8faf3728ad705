#include "text/pretokenizer.h"

#include <algorithm>

#include "text/bpe_byte_alphabet.h"
#include "text/tokenizer_fields.h"
#include "text/unicode.h"

namespace candor::text {

using nlohmann::json;
using Kind = PreTokenizer::Kind;

namespace {

// A stretch of a text, and whether it is a match (a delimiter) or what lies between matches.
struct Part {
  size_t begin, end;
  bool match;
};

std::vector<Part> parts_of(const std::vector<std::pair<size_t, size_t>>& matches, size_t size) {
  std::vector<Part> parts;
  size_t done = 0;
  for (const auto& [begin, end] : matches) {
    if (done < begin) parts.push_back({done, begin, false});
    parts.push_back({begin, end, true});
    done = end;
  }
  if (done < size) parts.push_back({done, size, false});
  return parts;
}

template <typename Predicate>
std::vector<std::pair<size_t, size_t>> matching_characters(std::string_view text, Predicate is_match) {
  std::vector<std::pair<size_t, size_t>> matches;
  for (size_t at = 0; at < text.size();) {
    const Utf8Unit unit = utf8_unit(text, at);
    if (is_match(unit.character)) matches.emplace_back(at, at + unit.length);
    at += unit.length;
  }
  return matches;
}

// Runs of word characters, and runs of what is neither word nor white space.
std::vector<std::pair<size_t, size_t>> visible_runs(std::string_view text) {
  std::vector<std::pair<size_t, size_t>> runs;
  int before = 0;  // 0 white space, 1 word, 2 other
  for (size_t at = 0; at < text.size();) {
    const Utf8Unit unit = utf8_unit(text, at);
    const int kind = is_word(unit.character) ? 1 : is_white_space(unit.character) ? 0 : 2;
    if (kind != 0 && kind == before) {
      runs.back().second = at + unit.length;
    } else if (kind != 0) {
      runs.emplace_back(at, at + unit.length);
    }
    before = kind;
    at += unit.length;
  }
  return runs;
}

// A match joins its neighbour: the one before it where `parts` is in order of the text, the one behind it where it is
// reversed. A match directly behind another match stays alone, as in the library.
void merge_matches(std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool previous_match = false;
  for (const Part& part : parts) {
    if (part.match && !previous_match && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, part.begin);
      merged.back().end = std::max(merged.back().end, part.end);
    } else {
      merged.push_back(part);
    }
    previous_match = part.match;
  }
  parts = std::move(merged);
}

void apply_behavior(std::vector<Part>& parts, SplitBehavior behavior) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.match; });
      break;
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kContiguous: {
      std::vector<Part> merged;
      for (const Part& part : parts) {
        if (!merged.empty() && merged.back().match == part.match) {
          merged.back().end = part.end;
        } else {
          merged.push_back(part);
        }
      }
      parts = std::move(merged);
      break;
    }
    case SplitBehavior::kMergedWithPrevious:
      merge_matches(parts);
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts.begin(), parts.end());
      merge_matches(parts);
      std::reverse(parts.begin(), parts.end());
      break;
  }
}

Result<std::vector<std::pair<size_t, size_t>>> find_matches(const PreTokenizer& pre_tokenizer, std::string_view text) {
  switch (pre_tokenizer.kind) {
    case Kind::kDigits:
      return matching_characters(text, is_numeric);
    case Kind::kPunctuation:
      return matching_characters(text, is_punctuation);
    case Kind::kWhitespace:
      return visible_runs(text);
    case Kind::kWhitespaceSplit:
      return matching_characters(text, is_white_space);
    default:
      break;
  }
  if (pre_tokenizer.regex) return pre_tokenizer.regex->find_all(text);
  std::vector<std::pair<size_t, size_t>> matches;
  const std::string& literal = pre_tokenizer.literal;
  if (literal.empty()) return matches;
  for (size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, at + literal.size())) {
    matches.emplace_back(at, at + literal.size());
  }
  return matches;
}

Result<SplitBehavior> behavior_field(const json& config, std::optional<SplitBehavior> fallback,
                                     std::string_view where) {
  if (fallback && !config.contains("behavior")) return *fallback;
  const std::string name = TRY(string_field(config, "behavior", where));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return error(
      "{}: \"behavior\" must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous; got {:?}.", where,
      name);
}

Result<PreTokenizer> parse_split(const json& config, std::string_view where) {
  PreTokenizer split{.kind = Kind::kSplit};
  split.behavior = TRY(behavior_field(config, std::nullopt, where));
  split.invert = TRY(bool_field(config, "invert", false, where));
  const auto pattern = config.find("pattern");
  if (pattern == config.end() || !pattern->is_object() || pattern->size() != 1) {
    return error("{} Split: \"pattern\" must hold one of \"String\" and \"Regex\".", where);
  }
  if (pattern->contains("String")) {
    split.literal = TRY(string_field(*pattern, "String", where));
  } else {
    split.regex = TRY(Regex::compile(TRY(string_field(*pattern, "Regex", where)), where));
  }
  return split;
}

}  // namespace

Result<PreTokenizer> parse_pre_tokenizer(const json& config, std::string_view where, int depth) {
  PreTokenizer pre_tokenizer;
  if (config.is_null()) return pre_tokenizer;
  const std::string type = TRY(component_type(config, where));
  if (type == "Sequence") {
    const json& parts = *TRY(sequence_field(config, "pretokenizers", depth, where));
    for (const json& part : parts) {
      pre_tokenizer.parts.push_back(TRY(parse_pre_tokenizer(part, where, depth + 1)));
    }
  } else if (type == "ByteLevel") {
    pre_tokenizer.kind = Kind::kByteLevel;
    pre_tokenizer.add_prefix_space = TRY(bool_field(config, "add_prefix_space", std::nullopt, where));
    if (TRY(bool_field(config, "use_regex", true, where))) {
      pre_tokenizer.regex = TRY(Regex::compile(kGpt2Pattern, where));
    }
  } else if (type == "Split") {
    return parse_split(config, where);
  } else if (type == "Digits") {
    pre_tokenizer.kind = Kind::kDigits;
    const bool individual = TRY(bool_field(config, "individual_digits", false, where));
    pre_tokenizer.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  } else if (type == "Punctuation") {
    pre_tokenizer.kind = Kind::kPunctuation;
    pre_tokenizer.behavior = TRY(behavior_field(config, SplitBehavior::kIsolated, where));
  } else if (type == "Whitespace") {
    pre_tokenizer.kind = Kind::kWhitespace;
    pre_tokenizer.invert = true;
    pre_tokenizer.behavior = SplitBehavior::kRemoved;
  } else if (type == "WhitespaceSplit") {
    pre_tokenizer.kind = Kind::kWhitespaceSplit;
    pre_tokenizer.behavior = SplitBehavior::kRemoved;
  } else {
    return unsupported(where, type);
  }
  return pre_tokenizer;
}

Result<void> pre_tokenize(const PreTokenizer& pre_tokenizer, std::vector<std::string>& pieces) {
  if (pre_tokenizer.kind == Kind::kSequence) {
    for (const PreTokenizer& part : pre_tokenizer.parts) TRY(pre_tokenize(part, pieces));
    return {};
  }
  const bool byte_level = pre_tokenizer.kind == Kind::kByteLevel;
  std::vector<std::string> split;
  for (std::string& piece : pieces) {
    if (pre_tokenizer.add_prefix_space && piece[0] != ' ') piece.insert(piece.begin(), ' ');
    std::vector<Part> parts = parts_of(TRY(find_matches(pre_tokenizer, piece)), piece.size());
    if (pre_tokenizer.invert) {
      for (Part& part : parts) part.match = !part.match;
    }
    apply_behavior(parts, pre_tokenizer.behavior);
    for (const Part& part : parts) {
      if (part.begin == part.end) continue;
      const std::string_view text = std::string_view(piece).substr(part.begin, part.end - part.begin);
      split.push_back(byte_level ? to_byte_alphabet(text) : std::string(text));
    }
  }
  pieces = std::move(split);
  return {};
}

}  // namespace candor::text
