// How a message is answered: the conversation rendered and cut to the context, sampled, shown as it comes.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "cli/chat_session.h"
#include "cli/columns.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

constexpr int kNarrowest = 60;  // columns for two answers side by side

// Where an answer's text goes as it comes: a stream, or one of two columns.
class Display {
 public:
  Display(bool compare, bool adapter_first) : compare_(compare) {
    const std::array<std::string, 2> titles = {adapter_first ? "with the adapter" : "without the adapter",
                                               adapter_first ? "without the adapter" : "with the adapter"};
    const int columns = terminal_columns(stdout);
    if (compare && is_terminal(stdout) && columns >= kNarrowest)
      columns_.emplace(stdout, static_cast<size_t>(columns), titles);
    else if (compare)
      titles_ = titles;
  }
  bool side_by_side() const { return columns_.has_value(); }

  void begin(size_t side) {
    if (compare_ && !columns_) fmt::print("[{}]\n", titles_[side]);
  }
  void push(size_t side, const std::string& text) {
    if (columns_) return columns_->push(side, printable(text));
    fmt::print("{}", printable(text));
    std::fflush(stdout);
  }
  void end(size_t side) {
    if (columns_) return columns_->end(side);
    fmt::print("\n");
    std::fflush(stdout);
  }

 private:
  bool compare_;
  std::array<std::string, 2> titles_;
  std::optional<SideBySide> columns_;
};

}  // namespace

Result<std::vector<int32_t>> ChatSession::render(const text::Json& messages) const {
  text::RenderOptions options;
  options.add_generation_prompt = true;
  options.extra = session_.files.special_tokens;
  const text::Rendered rendered = TRY(session_.chat_template()->render(messages, options));
  return session_.tokenizer().encode(rendered.text, {});
}

// The oldest turns give way, whole: what is left behind the system prompt begins with the user.
Result<ChatSession::Prompt> ChatSession::fit() const {
  const int64_t context = session_.model.config.max_positions;
  const int64_t room = std::min(sampling_.options.max_new_tokens, std::max<int64_t>(1, context / 4));
  text::Json messages = messages_;
  const size_t first = first_turn();
  Prompt prompt;
  while (true) {
    prompt.ids = TRY(render(messages));
    const auto tokens = static_cast<int64_t>(prompt.ids.size());
    if (tokens <= context - room) return prompt;
    size_t next = first + 1;
    while (next < messages.size() && messages[next]["role"] != "user") ++next;
    if (next >= messages.size()) {  // nothing but the last message is left
      if (tokens < context) return prompt;
      return error(
          "[chat] the message has {} tokens with what the template adds, and the context of the model is {}. Shorten "
          "it.",
          tokens, context);
    }
    messages.erase(messages.begin() + static_cast<int64_t>(first), messages.begin() + static_cast<int64_t>(next));
    prompt.forgotten += next - first;
  }
}

// Answer 0 goes on in the conversation; answer 1 is there when two are compared.
std::array<ChatSession::Answer, 2> ChatSession::sample(const Prompt& prompt) {
  const auto tokens = static_cast<int64_t>(prompt.ids.size());
  const std::vector<engine::SampleRequest> requests = {
      {prompt.ids, 1, std::max<int64_t>(1, sampling_.new_tokens(tokens, session_.model.config.max_positions))}};
  engine::SamplingOptions options = sampling_.options;
  options.step = answers_;
  std::array<Answer, 2> answers;
  Display display(compare_, adapter_on_);
  std::vector<text::StreamDecoder> decoders(2,
                                            text::StreamDecoder(session_.tokenizer(), {.skip_special_tokens = true}));
  std::array<engine::SamplingCallbacks, 2> callbacks;
  std::array<std::unique_ptr<engine::Sampler>, 2> samplers;
  const size_t sides = compare_ ? 2 : 1;
  for (size_t side = 0; side < sides; ++side) {
    const auto show = [&, side](const std::string& text) {
      answers[side].text += text;
      if (!text.empty()) display.push(side, text);
    };
    callbacks[side].token = [&, side, show](const engine::RowPlace&, int32_t token) {
      ++answers[side].tokens;
      show(decoders[side].push(token));
    };
    callbacks[side].done = [&, side](const engine::RowPlace&, const engine::Completion& completion) {
      answers[side].finished = completion.finished;
    };
    const bool with = adapter_on_ == (side == 0);
    samplers[side] = std::make_unique<engine::Sampler>(
        session_.context, session_.model, with ? session_.role() : nullptr, requests, options, &session_.tokenizer(),
        callbacks[side], 0, with ? &with_ : &without_);
  }
  const auto end = [&](size_t side) {
    const std::string rest = decoders[side].flush();
    answers[side].text += rest;
    if (!rest.empty()) display.push(side, rest);
    display.end(side);
  };
  if (display.side_by_side()) {
    std::array<bool, 2> over{};
    while (!(over[0] && over[1]))
      for (size_t side = 0; side < 2; ++side) {
        if (over[side]) continue;
        if (!samplers[side]->done() && !interrupted_) samplers[side]->step();
        over[side] = samplers[side]->done() || interrupted_;
        if (over[side]) end(side);
      }
  } else {
    for (size_t side = 0; side < sides; ++side) {
      display.begin(side);
      while (!samplers[side]->done() && !interrupted_) samplers[side]->step();
      end(side);
    }
  }
  return answers;
}

Result<void> ChatSession::answer() {
  interrupted_ = false;
  const Prompt prompt = TRY(fit());
  if (prompt.forgotten > 0)
    print_note(
        fmt::format("the oldest {} messages no longer fit the context of {} tokens; the model does not see them.",
                    prompt.forgotten, session_.model.config.max_positions));
  prompt_tokens_ = static_cast<int64_t>(prompt.ids.size());
  cached_tokens_ = (adapter_on_ ? with_ : without_).shared_tokens(prompt.ids);
  const auto begun = std::chrono::steady_clock::now();
  const std::array<Answer, 2> answers = sample(prompt);
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  answer_tokens_ = answers[0].tokens + answers[1].tokens;
  ++answers_;
  const bool stopped = interrupted_.exchange(false);
  if (stopped && answers[0].tokens == 0)
    return Error{"[chat] stopped before a word was said; the message is taken back."};
  messages_.push_back({{"role", "assistant"}, {"content", answers[0].text}});
  if (stopped)
    print_note("stopped; what was said is kept.");
  else if (!answers[0].finished)
    print_note(fmt::format("the answer is cut after {} tokens; /set max_new_tokens N allows another length.",
                           answers[0].tokens));
  return {};
}

void ChatSession::say(const std::string& text) {
  messages_.push_back({{"role", "user"}, {"content", text}});
  if (const auto answered = answer(); !answered) {
    messages_.erase(messages_.size() - 1);
    print_error(answered.error().message);
  }
}

}  // namespace candor::cli
