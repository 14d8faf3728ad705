#include "recipes/config_print.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/check.h"

namespace candor::recipes {
namespace {

std::string type_name(const Field& field) {
  struct Names {
    std::string operator()(bool*) const { return "boolean"; }
    std::string operator()(int64_t*) const { return "integer"; }
    std::string operator()(double*) const { return "number"; }
    std::string operator()(std::string*) const { return "text"; }
    std::string operator()(std::optional<int64_t>*) const { return "integer"; }
    std::string operator()(std::optional<double>*) const { return "number"; }
    std::string operator()(std::optional<std::string>*) const { return "text"; }
    std::string operator()(std::vector<std::string>*) const { return "list of texts"; }
    std::string operator()(std::vector<double>*) const { return "list of numbers"; }
    std::string operator()(TextOrList*) const { return "text or list"; }
  };
  return std::visit(Names{}, field.value);
}

std::string placeholder(const Field& field) {
  const std::string type = type_name(field);
  if (type == "boolean") return "true|false";
  if (!field.options.choices.empty() && field.options.choices.size() <= 3 && !is_list(field))
    return fmt::format("{}", fmt::join(field.options.choices, "|"));
  if (type == "integer") return "N";
  if (type == "number") return "X";
  if (type == "list of numbers") return "X,X";
  return type == "text" ? "TEXT" : "A,B";
}

std::string wrapped(const std::string& text, int columns, const std::string& indent) {
  std::istringstream words(text);
  std::string out, line;
  for (std::string word; words >> word;) {
    if (!line.empty() && static_cast<int>(indent.size() + line.size() + 1 + word.size()) > columns) {
      out += indent + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + indent + line + "\n";
}

std::string described(const Field& field) {
  std::string text = field.meaning;
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  const Range& range = field.options.range;
  std::vector<std::string> facts;
  const bool shown = placeholder(field).find('|') != std::string::npos;
  if (!field.options.choices.empty() && !shown) facts.push_back(expected_text(field));
  if (field.options.choices.empty() && !(std::isinf(range.low) && std::isinf(range.high)))
    facts.push_back(expected_text(field));
  if (!field.options.unit.empty()) facts.push_back("in " + field.options.unit);
  if (field.options.required)
    facts.push_back("required");
  else if (!is_empty(field))
    facts.push_back("default " + value_text(field));
  else if (!field.options.without.empty())
    facts.push_back("default " + field.options.without);
  return facts.empty() ? text + "." : fmt::format("{}. [{}]", text, fmt::join(facts, "; "));
}

nlohmann::ordered_json default_json(const Field& field) {
  struct Values {
    nlohmann::ordered_json operator()(const bool* v) const { return *v; }
    nlohmann::ordered_json operator()(const int64_t* v) const { return *v; }
    nlohmann::ordered_json operator()(const double* v) const { return *v; }
    nlohmann::ordered_json operator()(const std::string* v) const {
      return v->empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(*v);
    }
    nlohmann::ordered_json operator()(const std::optional<int64_t>* v) const {
      return *v ? nlohmann::ordered_json(**v) : nlohmann::ordered_json();
    }
    nlohmann::ordered_json operator()(const std::optional<double>* v) const {
      return *v ? nlohmann::ordered_json(**v) : nlohmann::ordered_json();
    }
    nlohmann::ordered_json operator()(const std::optional<std::string>* v) const {
      return *v ? nlohmann::ordered_json(**v) : nlohmann::ordered_json();
    }
    nlohmann::ordered_json operator()(const std::vector<std::string>* v) const { return *v; }
    nlohmann::ordered_json operator()(const std::vector<double>* v) const { return *v; }
    nlohmann::ordered_json operator()(const TextOrList* v) const {
      return v->is_list ? nlohmann::ordered_json(v->items) : nlohmann::ordered_json(v->items.at(0));
    }
  };
  return std::visit(Values{}, field.value);
}

}  // namespace

std::string yaml_text(const FieldList& fields) {
  std::string out;
  const Field* before = nullptr;
  for (const Field& field : fields.all()) {
    if (before == nullptr || before->heading != field.heading || before->group != field.group)
      out += fmt::format("{}# {}{}\n", out.empty() ? "" : "\n", heading_title(field.heading),
                         field.group.empty() ? "" : ": " + field.group);
    out += fmt::format("{}: {}\n", field.key, value_text(field));
    before = &field;
  }
  return out;
}

std::string help_text(const FieldList& defaults, int columns) {
  std::string out;
  const Field* before = nullptr;
  for (const Field& field : defaults.all()) {
    if (before == nullptr || before->heading != field.heading)
      out += fmt::format("{}{}\n", out.empty() ? "" : "\n", heading_title(field.heading));
    if (!field.group.empty() && (before == nullptr || before->group != field.group))
      out += fmt::format("\n {}\n", field.group);
    out += fmt::format("  --{} {}\n", field.key, placeholder(field));
    out += wrapped(described(field), columns, "        ");
    before = &field;
  }
  return out;
}

std::string listing_json(const FieldList& defaults) {
  auto list = nlohmann::ordered_json::array();
  for (const Field& field : defaults.all()) {
    const Range& range = field.options.range;
    nlohmann::ordered_json entry = {
        {"key", field.key},           {"type", type_name(field)}, {"default", default_json(field)},
        {"unit", field.options.unit}, {"meaning", field.meaning}, {"choices", field.options.choices}};
    entry["minimum"] = std::isfinite(range.low) ? nlohmann::ordered_json(range.low) : nlohmann::ordered_json();
    entry["minimum_excluded"] = range.above_low;
    entry["maximum"] = std::isfinite(range.high) ? nlohmann::ordered_json(range.high) : nlohmann::ordered_json();
    entry["heading"] = std::string(heading_title(field.heading));
    entry["group"] = field.group;
    entry["required"] = field.options.required;
    list.push_back(std::move(entry));
  }
  return list.dump(1) + "\n";
}

std::vector<Difference> result_differences(const FieldList& was, const FieldList& now) {
  CHECK(was.all().size() == now.all().size());
  std::vector<Difference> differences;
  for (size_t i = 0; i < now.all().size(); ++i) {
    const Field &a = was.all()[i], &b = now.all()[i];
    CHECK(a.key == b.key);
    if (b.heading == Heading::kResults && value_text(a) != value_text(b))
      differences.push_back({b.key, value_text(a), value_text(b)});
  }
  return differences;
}

}  // namespace candor::recipes
