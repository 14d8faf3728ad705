// candor chat MODEL: a conversation at the terminal; without one, each line of standard input is a message.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "cli/chat_session.h"
#include "cli/exit_code.h"
#include "cli/inference_memory.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace candor::cli {

namespace {

constexpr int64_t kConversationTokens = 512;  // before an answer, as far as memory is asked about

struct ChatOptions {
  ModelOptions model;
  SamplingFlags sampling;
  std::string system, load;
  bool compare = false;
};

// Lines of standard input, which Ctrl-C ends; a line that ends with a backslash goes on in the next one.
class Lines {
 public:
  enum class End { kLine, kInterrupted, kOver };

  explicit Lines(std::atomic<bool>& interrupted) : interrupted_(interrupted) {}

  End next(std::string& line) {
    line.clear();
    while (true) {
      std::string part;
      const End end = next_part(part);
      line += part;
      if (end == End::kInterrupted) return end;
      if (end == End::kOver) return line.empty() ? end : End::kLine;
      if (!line.ends_with('\\')) return End::kLine;
      line.back() = '\n';
    }
  }

 private:
  End next_part(std::string& line) {
    while (true) {
      if (const size_t at = bytes_.find('\n'); at != std::string::npos) {
        line = bytes_.substr(0, at);
        bytes_.erase(0, at + 1);
        if (line.ends_with('\r')) line.pop_back();
        return End::kLine;
      }
      if (interrupted_.exchange(false)) {
        bytes_.clear();  // what was typed of the line
        return End::kInterrupted;
      }
      // A signal just before a blocking read, or in another thread, would not end it: so wait in parts.
      pollfd input{STDIN_FILENO, POLLIN, 0};
      constexpr int kPartMs = 100;
      if (poll(&input, 1, kPartMs) <= 0) continue;
      std::array<char, 4096> chunk;
      const ssize_t count = read(STDIN_FILENO, chunk.data(), chunk.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        line = std::move(bytes_);
        bytes_.clear();
        return End::kOver;
      }
      bytes_.append(chunk.data(), static_cast<size_t>(count));
    }
  }

  std::atomic<bool>& interrupted_;
  std::string bytes_;  // read and not yet given out
};

void ask(bool terminal) {
  if (!terminal) return;
  fmt::print("{}", wants_colour(stdout) ? "\x1b[1m> \x1b[0m" : "> ");
  std::fflush(stdout);
}

Result<int> run_chat(const ChatOptions& options) {
  HeldMeter meter;
  const auto session = TRY(open_files(options.model.model, options.model.threads));
  meter.mark("program", "tokenizer");
  if (session->chat_template() == nullptr)
    return error("[chat] {} Use an instruct model, or candor generate, which continues plain text.",
                 session->files.no_chat_template);
  Sampling sampling = TRY(resolve_sampling(options.sampling, *session, "chat"));
  for (const std::string& note : sampling.notes) print_note(note);
  const InferenceWork work{{1, 1, kConversationTokens, sampling.options.max_new_tokens}, sampling.options};
  if (const auto refused = TRY(refuse_inference("chat", *session, options.model, work, meter.held()))) {
    print_error(refused->message);
    return static_cast<int>(kUsage);
  }
  TRY(load_weights(*session, options.model.dtype, options.model.activations));
  TRY(load_adapter(*session, options.model.adapter));
  std::atomic<bool>& interrupted = catch_answer_interrupts();
  ChatSession chat(*session, std::move(sampling), interrupted);
  if (!options.load.empty()) TRY(chat.load(options.load));
  if (!options.system.empty()) TRY(chat.set_system(options.system));
  if (options.compare) TRY(chat.set_compare(true));
  const bool terminal = is_terminal(stdin);
  if (terminal) print_note("/help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.");
  Lines lines(interrupted);
  std::string line;
  while (true) {
    ask(terminal);
    const Lines::End end = lines.next(line);
    if (end == Lines::End::kOver) break;
    if (end == Lines::End::kInterrupted) {
      if (!terminal) return static_cast<int>(kInterrupted);
      fmt::print("\n");
      continue;
    }
    if (!chat.handle(line)) return static_cast<int>(kOk);
  }
  if (terminal) fmt::print("\n");
  return static_cast<int>(kOk);
}

}  // namespace

int chat(const Words& words) {
  Options options("chat", "Talks with a model: one message a line, answered as it comes. /help lists its commands.");
  ChatOptions chat;
  CLI::App& app = options.app;
  chat.model.add_model(app);
  chat.model.add_adapter(app);
  app.add_option("--system", chat.system, "the system prompt");
  app.add_flag("--compare", chat.compare, "answer with the adapter and without it, side by side");
  app.add_option("--load", chat.load, "go on with the last conversation of a file of rows with messages");
  chat.sampling.add(app);
  chat.model.add_dtype(app);
  chat.model.add_max_memory(app);
  chat.model.add_threads(app);
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_chat(chat);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
