#include "text/chat_template.h"

#include <algorithm>
#include <array>

#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"
#include "text/jinja/unicode.h"

namespace candor::text {

struct ChatTemplate::Impl {
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

namespace {

constexpr size_t kMaxSourceBytes = size_t{4} << 20;
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";  // with its space: see cut_at_tag

std::tm local_now() {
  std::time_t seconds = std::time(nullptr);
  std::tm now = {};
  localtime_r(&seconds, &now);
  return now;
}

// What Transformers does to messages before a template sees them.
Result<Json> prepare_messages(const Json& messages) {
  if (!messages.is_array())
    return error("[chat template] messages must be a list of objects, got {}", messages.type_name());
  if (messages.empty()) return error("[chat template] there is no message to render");
  Json prepared = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      return error("[chat template] message {} must be an object with \"role\" and \"content\", got {}", i + 1,
                   messages[i].type_name());
    }
    Json message = Json::object();
    for (const auto& [key, value] : messages[i].items()) {
      if (!value.is_null()) message[key] = value;
    }
    static constexpr std::array<const char*, 3> kReasoning = {"reasoning_content", "thinking", "reasoning"};
    for (const char* known : kReasoning) {
      if (!message.contains(known)) continue;
      Json text = message[known];
      for (const char* other : kReasoning) {
        if (!message.contains(other)) message[other] = text;
      }
      break;
    }
    prepared.push_back(std::move(message));
  }
  return prepared;
}

// The final message's text, with the tag behind it; returns the text without the tag.
Result<std::string> tag_final_message(Json& messages) {
  Json& last = messages.back();
  Json* content = last.contains("content") ? &last["content"] : nullptr;
  if (content && content->is_array()) {
    for (size_t i = content->size(); i-- > 0;) {
      Json& part = (*content)[i];
      if (part.is_object() && part.contains("text")) {
        content = &part["text"];
        break;
      }
    }
  }
  if (!content || !content->is_string()) {
    return error("[chat template] continue_final_message is set but the final message has no text to continue");
  }
  std::string text = content->get<std::string>();
  *content = text + std::string(kContinueTag);
  return text;
}

// Cuts the rendered text at the last tag. A template that trims its messages has eaten the tag's space: then the text's
// own white space at the end would have gone too.
Result<void> cut_at_tag(std::string& text, const std::string& final_text) {
  std::string_view tag = jinja::strip_right(kContinueTag);
  size_t at = text.rfind(tag);
  std::string_view start = std::string_view(final_text).substr(0, final_text.find_first_of("\r\n"));
  if (at == std::string::npos || (!final_text.empty() && text.find(jinja::strip(start)) == std::string::npos)) {
    return error(
        "[chat template] continue_final_message is set but the final message does not appear in the rendered text. Use "
        "a "
        "template that keeps it, or do not continue the message.");
  }
  bool kept_space = text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  text.resize(at);
  if (!kept_space) text.resize(jinja::strip_right(text).size());
  return {};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes) return error("[chat template] the template is longer than 4 MiB");
  if (auto at = jinja::find_invalid_utf8(source))
    return error("[chat template] the template is not UTF-8 at byte {}", *at);
  auto impl = std::make_unique<Impl>();
  impl->body = TRY(jinja::parse_template(source));
  return ChatTemplate(std::move(impl));
}

Result<Rendered> ChatTemplate::render(const Json& messages, const RenderOptions& options) const {
  if (options.continue_final_message && options.add_generation_prompt) {
    return error("[chat template] continue_final_message and add_generation_prompt exclude each other");
  }
  Json prepared = TRY(prepare_messages(messages));
  std::string final_text;
  if (options.continue_final_message) final_text = TRY(tag_final_message(prepared));
  jinja::Dict variables;
  variables.insert_text("messages", TRY(jinja::from_json(prepared)));
  variables.insert_text("tools", TRY(jinja::from_json(options.tools)));
  variables.insert_text("documents", TRY(jinja::from_json(options.documents)));
  variables.insert_text("add_generation_prompt", jinja::Value(options.add_generation_prompt));
  if (!options.extra.is_object()) return error("[chat template] the extra variables must be an object");
  for (const auto& [name, value] : options.extra.items()) variables.insert_text(name, TRY(jinja::from_json(value)));
  jinja::Output output = TRY(jinja::evaluate(impl_->body, variables, options.now ? *options.now : local_now()));
  if (options.continue_final_message) {
    TRY(cut_at_tag(output.text, final_text));
    for (auto& [start, end] : output.spans) {
      end = std::min(end, output.text.size());
      start = std::min(start, end);
    }
  }
  return Rendered{std::move(output.text), std::move(output.spans)};
}

}  // namespace candor::text
