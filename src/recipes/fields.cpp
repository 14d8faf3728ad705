#include "recipes/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/check.h"

namespace candor::recipes {
namespace {

template <typename T>
struct Unwrapped {
  using type = T;
};
template <typename T>
struct Unwrapped<std::optional<T>> {
  using type = T;
};

bool means_absent(std::string_view text) {
  return text == "null" || text == "Null" || text == "NULL" || text == "none" || text == "None" || text == "~";
}

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

bool in_range(double value, const Range& range) {
  return std::isfinite(value) && (range.above_low ? value > range.low : value >= range.low) && value <= range.high;
}

Error unexpected(const Field& field, std::string_view got, std::string_view where) {
  constexpr size_t kShown = 120;
  const bool longer = got.size() > kShown;
  return error("[{}] {}: expected {}, got {}{}.", where, field.key, expected_text(field),
               quoted_text(got.substr(0, kShown)), longer ? "…" : "");
}

template <typename T>
Result<T> parse_one(const Field& field, const std::string& text, std::string_view where) {
  if constexpr (std::is_same_v<T, bool>) {
    const auto value = parse_bool(text);
    if (!value) return unexpected(field, text, where);
    return *value;
  } else if constexpr (std::is_same_v<T, std::string>) {
    for (const auto& [other, choice] : field.options.other_names)
      if (text == other) return choice;
    const auto& choices = field.options.choices;
    const bool path = !field.options.or_path.empty() && text.find('/') != std::string::npos;
    if (!choices.empty() && !path && std::find(choices.begin(), choices.end(), text) == choices.end())
      return unexpected(field, text, where);
    return text;
  } else {
    const auto value = parse_number<T>(text);
    if (!value || !in_range(static_cast<double>(*value), field.options.range)) return unexpected(field, text, where);
    return *value;
  }
}

std::string range_text(const Range& range) {
  if (std::isinf(range.low) && std::isinf(range.high)) return "";
  if (std::isinf(range.high)) return fmt::format(" {} {}", range.above_low ? "above" : "of at least", range.low);
  if (std::isinf(range.low)) return fmt::format(" of at most {}", range.high);
  if (range.above_low) return fmt::format(" above {} and at most {}", range.low, range.high);
  return fmt::format(" from {} to {}", range.low, range.high);
}

std::string text_yaml(const std::string& text) {
  const bool plain =
      !text.empty() && !means_absent(text) && !parse_bool(text) && !parse_number<double>(text) &&
      std::all_of(text.begin(), text.end(),
                  [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/'; }) &&
      text[0] != '-' && text[0] != '.';
  return plain || text == "true" || text == "false" ? text : quoted_text(text);
}

template <typename Items, typename Write>
std::string list_yaml(const Items& items, Write write) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() > 1 ? ", " : "") + write(item);
  return out + "]";
}

}  // namespace

std::string_view heading_title(Heading heading) {
  switch (heading) {
    case Heading::kResults:
      return "Changes results";
    case Heading::kSpeed:
      return "Changes only speed or memory";
    case Heading::kRecord:
      return "Changes only what is written, and when";
  }
  return "";
}

void FieldList::section(Heading heading, std::string group) {
  heading_ = heading;
  group_ = std::move(group);
}

void FieldList::add(std::string key, FieldValue value, std::string meaning, FieldOptions options) {
  CHECK(find(key) == nullptr);
  fields_.push_back({std::move(key), value, heading_, group_, std::move(meaning), std::move(options)});
}

const Field* FieldList::find(std::string_view key) const {
  for (const Field& field : fields_)
    if (field.key == key) return &field;
  return nullptr;
}

std::vector<std::string> FieldList::keys() const {
  std::vector<std::string> keys;
  for (const Field& field : fields_) keys.push_back(field.key);
  return keys;
}

bool is_list(const Field& field) {
  return std::holds_alternative<std::vector<std::string>*>(field.value) ||
         std::holds_alternative<std::vector<double>*>(field.value) || std::holds_alternative<TextOrList*>(field.value);
}

bool is_bool(const Field& field) {
  return std::holds_alternative<bool*>(field.value);
}

bool is_empty(const Field& field) {
  return std::visit(
      [](auto* value) {
        using T = std::remove_pointer_t<decltype(value)>;
        if constexpr (std::is_same_v<T, TextOrList>)
          return value->items.empty();
        else if constexpr (std::is_arithmetic_v<T>)
          return false;
        else if constexpr (std::is_same_v<T, typename Unwrapped<T>::type>)
          return value->empty();
        else
          return !value->has_value();
      },
      field.value);
}

std::string expected_text(const Field& field) {
  if (!field.options.choices.empty()) {
    const std::string what = is_list(field) ? "a list of " : "one of ";
    const std::string path = field.options.or_path.empty() ? "" : fmt::format(", {}", field.options.or_path);
    return fmt::format("{}{}{}", what, fmt::join(field.options.choices, ", "), path);
  }
  return std::visit(
      [&](auto* value) -> std::string {
        using T = std::remove_pointer_t<decltype(value)>;
        using Plain = typename Unwrapped<T>::type;
        const std::string absent = std::is_same_v<T, Plain> ? "" : ", or none";
        if constexpr (std::is_same_v<T, bool>) return "true or false";
        if constexpr (std::is_same_v<Plain, int64_t>) return "an integer" + range_text(field.options.range) + absent;
        if constexpr (std::is_same_v<Plain, double>) return "a number" + range_text(field.options.range) + absent;
        if constexpr (std::is_same_v<Plain, std::string>) return "a text" + absent;
        if constexpr (std::is_same_v<T, std::vector<std::string>>) return "a list of texts";
        if constexpr (std::is_same_v<T, TextOrList>) return "all-linear, a list of names, or a regular expression";
        return "a list of numbers" + range_text(field.options.range);
      },
      field.value);
}

Result<void> set_from_text(const Field& field, const std::string& text, std::string_view where) {
  return std::visit(
      [&](auto* value) -> Result<void> {
        using T = std::remove_pointer_t<decltype(value)>;
        using Plain = typename Unwrapped<T>::type;
        if constexpr (std::is_same_v<T, TextOrList>) {
          // A bare name means that module; anything that could not be a name is a regular expression, as in PEFT.
          const bool name = std::all_of(text.begin(), text.end(),
                                        [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
          if (text.empty() || means_absent(text)) return unexpected(field, text, where);
          *value = {.is_list = name && text != "all-linear", .items = {text}};
        } else if constexpr (std::is_same_v<T, std::vector<std::string>> || std::is_same_v<T, std::vector<double>>) {
          if (means_absent(text)) {
            value->clear();
            return {};
          }
          return set_from_list(field, {text}, where);
        } else if constexpr (std::is_same_v<T, std::string>) {
          if (field.options.choices.empty() && means_absent(text))
            value->clear();
          else
            *value = TRY(parse_one<Plain>(field, text, where));
        } else if constexpr (!std::is_same_v<T, Plain>) {
          if (means_absent(text))
            value->reset();
          else
            *value = TRY(parse_one<Plain>(field, text, where));
        } else {
          *value = TRY(parse_one<Plain>(field, text, where));
        }
        return {};
      },
      field.value);
}

Result<void> set_from_list(const Field& field, const std::vector<std::string>& items, std::string_view where) {
  if (auto* texts = std::get_if<std::vector<std::string>*>(&field.value)) {
    std::vector<std::string> parsed;
    for (const auto& item : items) parsed.push_back(TRY(parse_one<std::string>(field, item, where)));
    **texts = std::move(parsed);
    return {};
  }
  if (auto* numbers = std::get_if<std::vector<double>*>(&field.value)) {
    std::vector<double> parsed;
    for (const auto& item : items) parsed.push_back(TRY(parse_one<double>(field, item, where)));
    **numbers = std::move(parsed);
    return {};
  }
  if (auto* either = std::get_if<TextOrList*>(&field.value)) {
    if (items.empty()) return error("[{}] {}: expected {}, got an empty list.", where, field.key, expected_text(field));
    if (items.size() == 1) return set_from_text(field, items[0], where);
    **either = {.is_list = true, .items = items};
    return {};
  }
  return error("[{}] {}: expected {}, got a list of {}.", where, field.key, expected_text(field), items.size());
}

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  // YAML 1.1 readers (PyYAML) take 1e-06 for a text: a number needs its dot.
  const size_t exponent = text.find('e');
  if (std::isfinite(value) && text.find('.') == std::string::npos)
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  return text;
}

std::string quoted_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

std::string value_text(const Field& field) {
  return std::visit(
      [](auto* value) -> std::string {
        using T = std::remove_pointer_t<decltype(value)>;
        using Plain = typename Unwrapped<T>::type;
        const auto plain = [](const Plain& item) -> std::string {
          if constexpr (std::is_same_v<Plain, bool>) return item ? "true" : "false";
          if constexpr (std::is_same_v<Plain, int64_t>) return fmt::format("{}", item);
          if constexpr (std::is_same_v<Plain, double>) return number_text(item);
          if constexpr (std::is_same_v<Plain, std::string>) return item.empty() ? "null" : text_yaml(item);
          if constexpr (std::is_same_v<Plain, std::vector<std::string>>) return list_yaml(item, text_yaml);
          if constexpr (std::is_same_v<Plain, std::vector<double>>) return list_yaml(item, number_text);
          if constexpr (std::is_same_v<Plain, TextOrList>)
            return item.is_list ? list_yaml(item.items, text_yaml) : text_yaml(item.items.at(0));
        };
        if constexpr (std::is_same_v<T, Plain>)
          return plain(*value);
        else
          return value->has_value() ? plain(**value) : "null";
      },
      field.value);
}

}  // namespace candor::recipes
