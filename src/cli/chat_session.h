// A conversation with a model at the terminal: its messages, how it is answered, and the commands that change both.
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <string_view>

#include "cli/sampling_flags.h"
#include "engine/sampler.h"

namespace candor::cli {

class ChatSession {
 public:
  // `interrupted` is set by Ctrl-C and cleared here. The session must outlive it.
  ChatSession(const Session& session, Sampling sampling, std::atomic<bool>& interrupted);

  // Error: the template cannot hold a system prompt; then it is as it was. Empty text: none.
  Result<void> set_system(const std::string& text);
  // The last conversation of a file of rows with messages. Error: no such row; then all is as it was.
  Result<void> load(const std::string& path);
  // Whether the model with its adapter and the model without answer side by side. Error: there is no adapter.
  Result<void> set_compare(bool on);

  // A line of the user: a command, or a message, which is answered on standard output. False when it was /exit.
  bool handle(const std::string& line);

 private:
  struct Prompt {
    std::vector<int32_t> ids;
    size_t forgotten = 0;  // messages that no longer fit
  };
  struct Answer {
    std::string text;
    int64_t tokens = 0;
    bool finished = false;  // ended by itself
  };

  // chat_answer.cpp
  Result<std::vector<int32_t>> render(const text::Json& messages) const;
  Result<Prompt> fit() const;
  Result<void> answer();
  std::array<Answer, 2> sample(const Prompt& prompt);
  void say(const std::string& text);

  // chat_commands.cpp
  Result<void> command(std::string_view name, const std::string& argument);
  Result<void> save(const std::string& path) const;
  Result<void> set(const std::string& argument);
  Result<void> set_adapter(bool on);
  Result<void> retry();
  void undo();
  void stats() const;
  size_t first_turn() const;  // where the messages behind the system prompt begin

  const Session& session_;
  Sampling sampling_;
  std::atomic<bool>& interrupted_;
  text::Json messages_ = text::Json::array();
  bool adapter_on_, compare_ = false, leaving_ = false;
  uint32_t answers_ = 0;  // so far: the step of the next one's draws
  engine::PrefixCache with_, without_;
  int64_t prompt_tokens_ = 0, cached_tokens_ = 0, answer_tokens_ = 0;  // of the last answer
  double seconds_ = 0;
};

}  // namespace candor::cli
