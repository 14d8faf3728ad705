// What the user may say to the program instead of the model.
#include <fmt/format.h>

#include <charconv>

#include "base/nearest_name.h"
#include "cli/chat_session.h"
#include "cli/terminal.h"
#include "data/rows.h"
#include "files/run_log.h"
#include "text/unicode.h"

namespace candor::cli {

namespace {

constexpr const char* kHelp =
    "/system [TEXT]       the system prompt; without a text there is none\n"
    "/reset               forget the conversation, not the system prompt\n"
    "/undo                take the last message and its answer back\n"
    "/retry               another answer to the last message\n"
    "/adapter on|off      answer with or without the adapter\n"
    "/compare on|off      both, side by side; the conversation goes on with the first\n"
    "/set NAME VALUE      temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens or seed\n"
    "/save FILE           append the conversation to FILE as a row of messages, which training reads\n"
    "/load FILE           go on with the last conversation of FILE\n"
    "/stats               tokens and speed of the last answer\n"
    "/exit                leave, as Ctrl-D does\n"
    "Ctrl-C stops an answer. A line that ends with \\ goes on in the next one.\n";

Result<bool> on_or_off(std::string_view name, const std::string& word) {
  if (word == "on" || word == "off") return word == "on";
  return error("[chat] /{} takes on or off, not {}.", name, in_quotes(word));
}

template <typename Number>
Result<void> read_number(const std::string& word, Number& out) {
  Number value{};
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (code != std::errc() || end != word.data() + word.size())
    return error("[chat] expected a number, got {}.", in_quotes(word));
  out = value;
  return {};
}

// What is wrong with messages from a file, or nothing.
std::string fault_of(const text::Json& messages) {
  if (!messages.is_array() || messages.empty()) return "holds no messages";
  for (const text::Json& message : messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      return "holds a message without a role";
    if (!message.contains("content") || !message["content"].is_string())
      return "holds a message whose content is no text";
  }
  return "";
}

}  // namespace

ChatSession::ChatSession(const Session& session, Sampling sampling, std::atomic<bool>& interrupted)
    : session_(session),
      sampling_(std::move(sampling)),
      interrupted_(interrupted),
      adapter_on_(session.adapter.has_value()),
      with_(session.context.ledger, session.model),
      without_(session.context.ledger, session.model) {}

size_t ChatSession::first_turn() const {
  return !messages_.empty() && messages_[0]["role"] == "system" ? 1 : 0;
}

Result<void> ChatSession::set_system(const std::string& text) {
  text::Json messages = text::Json::array();
  if (!text.empty()) messages.push_back({{"role", "system"}, {"content", text}});
  for (size_t i = first_turn(); i < messages_.size(); ++i) messages.push_back(messages_[i]);
  text::Json tried = messages;  // as it will be asked: the user speaks last
  if (tried.empty() || tried.back()["role"] != "user") tried.push_back({{"role", "user"}, {"content", "?"}});
  if (const auto rendered = render(tried); !rendered)
    return error("[chat] the model's template does not take this system prompt: {}", rendered.error().message);
  messages_ = std::move(messages);
  return {};
}

Result<void> ChatSession::load(const std::string& path) {
  data::Rows rows = TRY(data::read_rows(path));
  const data::Row& row = rows.rows.back();
  const text::Json messages = row.columns.contains("messages") ? row.columns["messages"] : text::Json();
  if (const std::string fault = fault_of(messages); !fault.empty())
    return error("[chat] {} {}.", data::place(rows.name, row), fault);
  messages_ = messages;
  if (messages_.back()["role"] == "user") messages_.erase(messages_.size() - 1);  // it waits for its answer no longer
  return {};
}

Result<void> ChatSession::save(const std::string& path) const {
  if (path.empty()) return Error{"[chat] /save takes the name of a file."};
  if (messages_.size() == first_turn()) return Error{"[chat] there is nothing to save yet."};
  auto lines = TRY(files::JsonLines::open(path));
  TRY(lines.write({{"messages", messages_}}));
  print_note(fmt::format("{} messages are appended to {}.", messages_.size(), path));
  return {};
}

Result<void> ChatSession::set_adapter(bool on) {
  if (on && !session_.adapter) return Error{"[chat] there is no adapter. Start with --adapter DIR."};
  adapter_on_ = on;
  return {};
}

Result<void> ChatSession::set_compare(bool on) {
  if (on && !session_.adapter) return Error{"[chat] there is no adapter to compare with. Start with --adapter DIR."};
  compare_ = on;
  return {};
}

Result<void> ChatSession::set(const std::string& argument) {
  const size_t space = argument.find(' ');
  const std::string name = argument.substr(0, space);
  const std::string value = space == std::string::npos ? "" : argument.substr(space + 1);
  engine::SamplingOptions options = sampling_.options;
  if (name == "temperature")
    TRY(read_number(value, options.temperature));
  else if (name == "top_k")
    TRY(read_number(value, options.top_k));
  else if (name == "top_p")
    TRY(read_number(value, options.top_p));
  else if (name == "min_p")
    TRY(read_number(value, options.min_p));
  else if (name == "repetition_penalty")
    TRY(read_number(value, options.repetition_penalty));
  else if (name == "max_new_tokens")
    TRY(read_number(value, options.max_new_tokens));
  else if (name == "seed")
    TRY(read_number(value, options.seed));
  else
    return error("[chat] /set knows no {}. /help lists what it knows.", in_quotes(name));
  if (const auto checked = engine::check_sampling(options, session_.model.config.vocab_size); !checked)
    return error("[chat] {}", checked.error().message);
  if (options.max_new_tokens < 1 || options.top_k < 0)
    return error("[chat] {} is {}; it cannot be that small.", name, value);
  sampling_.options = std::move(options);
  return {};
}

void ChatSession::undo() {
  while (messages_.size() > first_turn()) {
    const bool user = messages_.back()["role"] == "user";
    messages_.erase(messages_.size() - 1);
    if (user) return;
  }
}

Result<void> ChatSession::retry() {
  if (messages_.size() == first_turn() || messages_.back()["role"] != "assistant")
    return Error{"[chat] there is no answer to try again."};
  const text::Json before = messages_;
  messages_.erase(messages_.size() - 1);
  const auto answered = answer();
  if (!answered) messages_ = before;
  return answered;
}

void ChatSession::stats() const {
  fmt::print(
      "{} messages; the last prompt had {} of {} tokens, {} of them at hand; {} tokens in {:.1f} s, {:.0f} tok/s\n",
      messages_.size(), prompt_tokens_, session_.model.config.max_positions, cached_tokens_, answer_tokens_, seconds_,
      seconds_ > 0 ? static_cast<double>(answer_tokens_) / seconds_ : 0.0);
}

Result<void> ChatSession::command(std::string_view name, const std::string& argument) {
  if (name == "help")
    fmt::print("{}", kHelp);
  else if (name == "system")
    return set_system(argument);
  else if (name == "reset")
    while (messages_.size() > first_turn()) messages_.erase(messages_.size() - 1);
  else if (name == "undo")
    undo();
  else if (name == "retry")
    return retry();
  else if (name == "adapter")
    return set_adapter(TRY(on_or_off(name, argument)));
  else if (name == "compare")
    return set_compare(TRY(on_or_off(name, argument)));
  else if (name == "set")
    return set(argument);
  else if (name == "save")
    return save(argument);
  else if (name == "load")
    return load(argument);
  else if (name == "stats")
    stats();
  else if (name == "exit" || name == "quit")
    leaving_ = true;
  else {
    static const std::vector<std::string> kNames = {"help",    "system", "reset", "undo", "retry", "adapter",
                                                    "compare", "set",    "save",  "load", "stats", "exit"};
    return error("[chat] unknown command {}.{} /help lists the commands.", in_quotes(fmt::format("/{}", name)),
                 did_you_mean(name, kNames));
  }
  return {};
}

bool ChatSession::handle(const std::string& line) {
  if (text::find_invalid_utf8(line)) {
    print_error("[chat] the line is not UTF-8; it was not sent.");
  } else if (line.starts_with('/')) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(1, space == std::string::npos ? space : space - 1);
    if (const auto done = command(name, space == std::string::npos ? "" : line.substr(space + 1)); !done)
      print_error(done.error().message);
    std::fflush(stdout);
  } else if (line.find_first_not_of(" \t") != std::string::npos) {
    say(line);
  }
  return !leaving_;
}

}  // namespace candor::cli
