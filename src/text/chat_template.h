// A model's chat template (Jinja) and its rendering, as Transformers' apply_chat_template(tokenize=False) does it.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::text {

// Order of keys matters to templates that print a dictionary.
using Json = nlohmann::ordered_json;

struct RenderOptions {
  bool add_generation_prompt = false;
  bool continue_final_message = false;
  Json tools = nullptr;                // null or an array
  Json documents = nullptr;            // null or an array
  Json extra = Json::object();         // further variables (chat_template_kwargs) and the special tokens: bos_token, …
};

struct Rendered {
  std::string text;
  std::vector<std::pair<size_t, size_t>> assistant_spans;  // byte ranges inside {% generation %} … {% endgeneration %}
};

class ChatTemplate {
 public:
  static Result<ChatTemplate> parse(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // `messages`: an array of {"role", "content", …}. An error when the template raises (its own words are kept), when it
  // uses what the sandbox forbids, or when there is no message.
  Result<Rendered> render(const Json& messages, const RenderOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace candor::text
