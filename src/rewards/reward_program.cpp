#include "rewards/reward_program.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "files/json_file.h"
#include "files/run_log.h"
#include "rewards/child_process.h"
#include "rewards/external.h"

namespace candor::rewards {

namespace {

constexpr size_t kLongestLine = 1 << 20;
constexpr size_t kQuoted = 60;

struct Running {
  RewardProgram options;
  std::optional<ChildProcess> child;
  std::string unread;  // of its output: the line that is not whole yet

  std::string name() const { return fmt::format("{}", fmt::join(options.argv, " ")); }
};

// NaN and infinity as programs print them; JSON has neither.
bool names_no_finite_number(std::string_view line) {
  for (const char* word : {"NaN", "nan", "Infinity", "inf"})
    if (line.find(word) != std::string_view::npos) return true;
  return false;
}

Result<std::optional<double>> score_of(const std::string& line) {
  const std::string quoted = line.size() > kQuoted ? line.substr(0, kQuoted) + "…" : line;
  const auto json = files::parse_json(line, "line");
  if (!json) {
    if (names_no_finite_number(line)) return error("{} holds no finite number", quoted);
    return error("{} is no {{\"reward\": number or null}}", quoted);
  }
  if (!json->is_object() || !json->contains("reward")) return error("{} is no {{\"reward\": number or null}}", quoted);
  const auto score = score_from_json((*json)["reward"]);
  if (!score) return error("{}: {}", quoted, score.error().message);
  return *score;
}

constexpr int kStarts = 2;  // in one score: a program that died or stood still is started once more

// What became of asking a program: nothing wrong, or what, and whether another start may mend it.
struct Asked {
  std::string wrong;
  bool start_again = false;
};

// Asks for requests[answered] and on, and counts `answered` up.
Result<Asked> ask(Running& program, std::span<const std::string> requests, size_t& answered,
                  const std::function<Result<void>(size_t, std::optional<double>)>& got) {
  if (program.child && program.child->has_output()) return Asked{"wrote more than the answers it was asked for"};
  if (!program.child) {
    auto started = ChildProcess::start(program.options.argv, {program.options.memory_bytes});
    if (!started)
      return error("{} Give reward_program as a list: the program, then its arguments.", started.error().message);
    program.child = std::move(*started);
    program.unread.clear();
  }
  const auto answers = [&] { return fmt::format("{} of {} scores", answered, requests.size()); };
  std::string to_send;
  for (size_t i = answered; i < requests.size(); ++i) to_send += requests[i] + "\n";
  std::string wrong;  // with its answers
  const auto heard = [&](std::string_view part) -> Result<bool> {
    program.unread += part;
    size_t begin = 0;
    for (size_t end; (end = program.unread.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (answered == requests.size()) {
        wrong = "wrote more than the answers it was asked for";
        return true;
      }
      const auto score = score_of(program.unread.substr(begin, end - begin));
      if (!score) {
        wrong = fmt::format("answered badly to completion {} of {}: {}", answered + 1, requests.size(),
                            score.error().message);
        return true;
      }
      TRY(got(answered, *score));
      ++answered;
    }
    program.unread.erase(0, begin);
    if (answered == requests.size() && !program.unread.empty()) wrong = "wrote more than the answers it was asked for";
    if (program.unread.size() > kLongestLine) wrong = fmt::format("wrote a line of more than {} bytes", kLongestLine);
    return !wrong.empty() || answered == requests.size();
  };
  const auto timeout = std::chrono::duration<double>(program.options.timeout_s);
  const auto deadline = ChildProcess::Clock::now() + std::chrono::duration_cast<ChildProcess::Clock::duration>(timeout);
  const auto talked = program.child->talk(to_send, deadline, heard);
  if (!talked) {
    program.child.reset();
    return talked.error();
  }
  if (!wrong.empty()) return Asked{wrong};
  if (*talked == ChildProcess::Talk::kTimeout)
    return Asked{fmt::format("gave {} in {} s (reward_timeout). Does it write each answer at once? In Python: "
                             "print(…, flush=True)",
                             answers(), program.options.timeout_s),
                 true};
  if (*talked == ChildProcess::Talk::kEnded)
    return Asked{fmt::format("{} after {}", program.child->how_it_ended(), answers()), true};
  return Asked{};
}

Result<void> ask_program(Running& program, std::span<const std::string> requests,
                         const std::function<Result<void>(size_t, std::optional<double>)>& got) {
  size_t answered = 0;
  for (int start = 1;; ++start) {
    const Asked asked = TRY(ask(program, requests, answered, got));
    if (asked.wrong.empty()) return {};
    const std::string words = program.child->last_words();
    program.child.reset();
    if (asked.start_again && start < kStarts) continue;
    return error("{} {}.{}{}{}", program.name(), asked.wrong, start > 1 ? " It had been started anew before." : "",
                 words.empty() ? "" : " Its last words on stderr: ", words);
  }
}

}  // namespace

Reward program_reward(RewardProgram options) {
  const std::string identity = "program " + files::json_line(text::Json(options.argv));
  std::filesystem::path cache = options.cache;
  const auto program = std::make_shared<Running>(Running{std::move(options), {}, {}});
  return cached_reward("program", identity, std::move(cache),
                       [program](std::span<const std::string> requests, const auto& got) {
                         return ask_program(*program, requests, got);
                       });
}

}  // namespace candor::rewards
