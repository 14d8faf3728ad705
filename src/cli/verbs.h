// The verbs of `candor`. A new one is a function here and a row in verbs.cpp's table; --help lists what the table
// holds.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace candor::cli {

// The words after the verb; the answer is the exit code (exit_code.h).
using Words = std::vector<std::string>;

int audit(const Words& words);
int bench(const Words& words);
int chat(const Words& words);
int compare(const Words& words);
int completion(const Words& words);
int cpo(const Words& words);
int data(const Words& words);
int distill(const Words& words);
int dpo(const Words& words);
int eval_task(const Words& words);
int generate(const Words& words);
int grpo(const Words& words);
int guard(const Words& words);
int inspect(const Words& words);
int kto(const Words& words);
int merge(const Words& words);
int nash_md(const Words& words);
int online_dpo(const Words& words);
int orpo(const Words& words);
int plan(const Words& words);
int ppo(const Words& words);
int pretrain(const Words& words);
int prm(const Words& words);
int propositions(const Words& words);
int quantize(const Words& words);
int quickstart(const Words& words);
int report(const Words& words);
int reward(const Words& words);
int rloo(const Words& words);
int runs(const Words& words);
int score(const Words& words);
int sft(const Words& words);
int tokenize(const Words& words);
int xpo(const Words& words);

struct Verb {
  std::string_view name, arguments, summary;
  int (*run)(const Words& words);
};
std::span<const Verb> verbs();

}  // namespace candor::cli
