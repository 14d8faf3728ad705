// Programs as rewards, each a small shell script: what they are given, and every way in which they can go wrong.
#include "rewards/reward_program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "rewards/external.h"
#include "support/scratch.h"

namespace candor::rewards {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using text::Json;

std::string read_all(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class Program : public ::testing::Test {
 protected:
  candor::testing::ScratchFolder root_;

  // A script that a shell of its own runs, since it says so in its first line.
  std::vector<std::string> script(const std::string& lines) const {
    const auto path = root_ / "score.sh";
    std::ofstream(path) << "#!/bin/sh\n" << lines;
    ::chmod(path.c_str(), 0700);
    return {path.string()};
  }
  Reward reward(std::vector<std::string> argv, double timeout_s = 20) const {
    return program_reward({std::move(argv), timeout_s, int64_t{1} << 32, root_ / "reward_cache.jsonl"});
  }
  // Scores of `texts` (NaN: abstained), on one row.
  static Result<std::vector<double>> scores(const Reward& reward, const std::vector<std::string>& texts) {
    static const Json row = Json::parse(R"({"prompt": "2+2?", "answer": "4"})");
    static const std::vector<int32_t> ids = {5, 6};
    std::vector<Completion> completions;
    for (const std::string& text : texts) completions.push_back({&row, text, ids, true});
    return score_all(std::span(&reward, 1), completions);
  }
  // Does this and dies when it is started for the first time, and dies at once the second time unless more lines
  // follow.
  std::string first_start(const std::string& what) const {
    const std::string mark = (root_ / "started").string();
    std::filesystem::remove(mark);
    return fmt::format("if [ ! -e {} ]; then touch {}; {}; exit 1; fi\n", mark, mark, what);
  }
  // What a run that begins is told of such a program.
  std::string failure(const std::string& lines, double timeout_s = 20) const {
    std::filesystem::remove(root_ / "reward_cache.jsonl");
    const auto got = scores(reward(script(lines), timeout_s), {"a", "b", "c"});
    return got ? "it was accepted" : got.error().message;
  }
};

TEST_F(Program, AnswersInOrderAndMayAbstain) {
  const Reward r =
      reward(script("while read -r line; do\n  case $line in\n    *'\"completion\":\"b\"'*) echo "
                    "'{\"reward\": null}';;\n    *) echo '{\"reward\": 0.25, \"why\": \"said so\"}';;\n  "
                    "esac\ndone\n"));
  const auto got = scores(r, {"a", "b", "c"});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ((*got)[0], 0.25);
  EXPECT_TRUE(std::isnan((*got)[1]));
  EXPECT_EQ((*got)[2], 0.25);
}

TEST_F(Program, WorkedBytesOfARequest) {
  const Json row = Json::parse(R"({"prompt": "2+2?", "answer": "4"})");
  const std::vector<int32_t> ids = {5, 6};
  EXPECT_EQ(request_line({&row, "It is \"4\"", ids, false}),
            R"({"prompt":"2+2?","completion":"It is \"4\"","completion_ids":[5,6],"finished":false,)"
            R"("row":{"prompt":"2+2?","answer":"4"}})");
}

TEST_F(Program, StartsOnceAndIsAskedOnceForEachRequest) {
  const std::string counting =
      fmt::format("echo started >>{}\nwhile read -r line; do echo \"$line\" >>{}; echo '{{\"reward\": 1}}'; done\n",
                  (root_ / "starts").string(), (root_ / "asked").string());
  {
    const Reward r = reward(script(counting));
    EXPECT_TRUE(scores(r, {"a", "b", "a"}));
    EXPECT_TRUE(scores(r, {"a", "c"}));
  }
  EXPECT_EQ(read_all(root_ / "starts"), "started\n");
  const std::string asked = read_all(root_ / "asked");
  EXPECT_EQ(std::count(asked.begin(), asked.end(), '\n'), 3);  // a, b, c
  // Another process that goes on with the run asks for nothing it has; another argument list is another scorer.
  EXPECT_TRUE(scores(reward(script(counting)), {"c", "b", "a"}));
  EXPECT_EQ(read_all(root_ / "starts"), "started\n");
  auto other = script(counting);
  other.emplace_back("--strict");
  EXPECT_TRUE(scores(reward(other), {"a"}));
  EXPECT_EQ(read_all(root_ / "starts"), "started\nstarted\n");
}

TEST_F(Program, ATornCacheIsCutAndADamagedOneIsNamed) {
  const auto cache = root_ / "reward_cache.jsonl";
  const std::string always = "while read -r line; do echo '{\"reward\": 1}'; done\n";
  EXPECT_TRUE(scores(reward(script(always)), {"a"}));
  const std::string whole = read_all(cache);
  std::ofstream(cache, std::ios::app) << R"({"key":"12)";
  EXPECT_TRUE(scores(reward(script(always)), {"a"}));
  EXPECT_EQ(read_all(cache), whole);
  std::ofstream(cache, std::ios::app) << "{\"key\": 3}\n";
  const auto got = scores(reward(script(always)), {"a"});
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("reward_cache.jsonl, line 2] expected {\"key\": …, \"reward\": …}"));
}

TEST_F(Program, IsGivenNoSecretAndNoShell) {
  ::setenv("CANDOR_TEST_TOKEN", "secret", 1);
  const auto out = root_ / "environment";
  const std::string quoted = fmt::format("$(touch {})", (root_ / "shell").string());
  auto argv =
      script(fmt::format("/usr/bin/env >{0}\necho \"$1\" >>{0}\nulimit -c >>{0}\nulimit -n >>{0}\n"
                         "while read -r line; do echo '{{\"reward\": 1}}'; done\n",
                         out.string()));
  argv.push_back(quoted);
  EXPECT_TRUE(scores(reward(argv), {"a"}));
  const std::string seen = read_all(out);
  EXPECT_THAT(seen, HasSubstr("PATH="));
  EXPECT_EQ(seen.find("secret"), std::string::npos);
  EXPECT_THAT(seen, HasSubstr(quoted + "\n0\n256\n"));  // the argument as it is; no core; open files
  EXPECT_FALSE(std::filesystem::exists(root_ / "shell"));
}

TEST_F(Program, EveryWayToFailIsNamed) {
  EXPECT_THAT(
      failure("read -r line; echo '{\"reward\": 1}'; echo 'no key' >&2; echo sorry >&2; exit 3\n"),
      ContainsRegex("^\\[program\\] .*score.sh ended with exit status 3 after 2 of 3 scores. It had been started "
                    "anew before. Its last words on stderr: no key \\| sorry$"));
  EXPECT_THAT(failure("kill -9 $$\n"), HasSubstr("was killed by signal 9 (Killed) after 0 of 3 scores."));
  EXPECT_THAT(failure("exit 0\n"), HasSubstr("ended with exit status 0 after 0 of 3 scores."));
  EXPECT_THAT(failure("exec >&-; sleep 100\n"), HasSubstr("closed its standard output after 0 of 3 scores."));
  EXPECT_THAT(failure("echo hello; cat >/dev/null\n"),
              HasSubstr("answered badly to completion 1 of 3: hello is no {\"reward\": number or null}."));
  EXPECT_THAT(failure("echo '{\"score\": 1}'; cat >/dev/null\n"), HasSubstr("is no {\"reward\": number or null}."));
  EXPECT_THAT(failure("echo '{\"reward\": \"high\"}'; cat >/dev/null\n"), HasSubstr("expected a number, or null"));
  EXPECT_THAT(failure("echo '{\"reward\": NaN}'; cat >/dev/null\n"), HasSubstr("holds no finite number."));
  EXPECT_THAT(failure("echo '{\"reward\": 1e999}'; cat >/dev/null\n"), HasSubstr("answered badly to completion 1"));
  // In one piece; what comes later is found when the program is asked next.
  const std::string three = "{\"reward\": 1}\\n{\"reward\": 1}\\n{\"reward\": 1}\\n";
  for (const std::string more : {"{\"reward\": 1}\\n", "more"})
    EXPECT_THAT(failure(fmt::format("printf '{}{}'; cat >/dev/null\n", three, more)),
                HasSubstr("wrote more than the answers it was asked for."));
  EXPECT_THAT(failure("head -c 3000000 /dev/zero; cat >/dev/null\n"),
              HasSubstr("wrote a line of more than 1048576 bytes"));
  EXPECT_THAT(failure("sleep 100\n", 0.2), HasSubstr("gave 0 of 3 scores in 0.2 s (reward_timeout)."));
  const auto absent = scores(reward({(root_ / "nothing").string()}), {"a"});
  ASSERT_FALSE(absent);
  EXPECT_THAT(absent.error().message, HasSubstr("nothing: No such file or directory."));
}

// What it writes when it was not asked must not be taken for the answers of the next time.
TEST_F(Program, WhatComesUnaskedIsNoAnswer) {
  const auto more = root_ / "more";
  const Reward r = reward(script(fmt::format(
      "read -r l; echo '{{\"reward\": 1}}'; sleep 0.05; echo '{{\"reward\": 9}}'; touch {}; cat >/dev/null\n",
      more.string())));
  EXPECT_TRUE(scores(r, {"a"}));
  for (int i = 0; i < 2000 && !std::filesystem::exists(more); ++i) ::usleep(5000);
  const auto got = scores(r, {"b"});
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("wrote more than the answers it was asked for."));
}

TEST_F(Program, ItsWholeGroupGoesWithIt) {
  const auto pid_file = root_ / "pid";
  EXPECT_THAT(failure(fmt::format("sleep 1000 & echo $! >{}\nwait\n", pid_file.string()), 0.3),
              HasSubstr("reward_timeout"));
  std::ifstream in(pid_file);
  pid_t pid = 0;
  in >> pid;
  ASSERT_GT(pid, 0);
  for (int i = 0; i < 200 && ::kill(pid, 0) == 0; ++i) {  // its new parent reaps it
    std::ifstream status(fmt::format("/proc/{}/stat", pid));
    std::string field;
    for (int f = 0; f < 3; ++f) status >> field;
    if (field == "Z") return;
    ::usleep(5000);
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

// One that dies in the middle, or between two scores, is asked for the rest by its second life.
TEST_F(Program, IsStartedOnceMore) {
  const auto asked = root_ / "asked";
  const std::string answers =
      fmt::format("while read -r l; do echo \"$l\" >>{}; echo '{{\"reward\": 2}}'; ", asked.string());
  const auto got =
      scores(reward(script(first_start("read -r l; echo '{\"reward\": 1}'") + answers + "done\n")), {"a", "b", "c"});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(*got, (std::vector<double>{1, 2, 2}));
  const std::string lines = read_all(asked);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);  // not a again
  std::filesystem::remove(root_ / "reward_cache.jsonl");
  const Reward dies_after_each = reward(script(answers + "exit 0; done\n"));
  EXPECT_TRUE(scores(dies_after_each, {"a"}));
  EXPECT_TRUE(scores(dies_after_each, {"b"}));
  EXPECT_FALSE(scores(dies_after_each, {"c", "d", "e"}));
  const auto slow = scores(reward(script(first_start("sleep 100") + answers + "done\n"), 1.0), {"f"});
  ASSERT_TRUE(slow) << slow.error().message;
  EXPECT_EQ((*slow)[0], 2);
}

TEST_F(Program, WhatItAnsweredBeforeItDiedIsKept) {
  EXPECT_THAT(failure(first_start("read -r l; echo '{\"reward\": 1}'; read -r l; echo '{\"reward\": 0.5}'")),
              HasSubstr("after 2 of 3 scores. It had been started anew before."));
  const auto rest = root_ / "asked";
  const auto got = scores(
      reward(
          script(fmt::format("while read -r l; do echo \"$l\" >>{}; echo '{{\"reward\": 0}}'; done\n", rest.string()))),
      {"a", "b", "c"});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(*got, (std::vector<double>{1, 0.5, 0}));
  const std::string asked = read_all(rest);
  EXPECT_EQ(std::count(asked.begin(), asked.end(), '\n'), 1);
}

}  // namespace
}  // namespace candor::rewards
