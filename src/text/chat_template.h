// A model's chat template (Jinja) and its rendering, as Transformers' apply_chat_template(tokenize=False) does it.
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace candor::text {

// Order of keys matters to templates that print a dictionary.
using Json = nlohmann::ordered_json;

struct RenderOptions {
  bool add_generation_prompt = false;
  bool continue_final_message = false;
  Json tools = nullptr;         // null or an array
  Json documents = nullptr;     // null or an array
  Json extra = Json::object();  // further variables (chat_template_kwargs) and the special tokens: bos_token, …
  std::optional<std::tm> now;   // what strftime_now sees, all fields set; unset: the local clock
};

struct Rendered {
  std::string text;
  // Byte ranges [first, last) of `text` inside {% generation %} … {% endgeneration %}. As in Transformers they are
  // wrong where the tag stands inside a set block or a filter block: the template's own position counts, not the
  // text's.
  std::vector<std::pair<size_t, size_t>> assistant_spans;
};

class ChatTemplate {
 public:
  // Errors name the template's line: "[chat template] line 3: …".
  static Result<ChatTemplate> parse(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `messages`: an array of {"role", "content", …}; keys whose value is null are dropped, and reasoning_content,
  // thinking and reasoning fill each other. An error when the template raises (its own words are kept), when it uses
  // what the sandbox forbids or more than it may (10 million steps, 64 MiB of output), or when there is no message.
  Result<Rendered> render(const Json& messages, const RenderOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace candor::text
