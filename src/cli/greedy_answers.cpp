#include "cli/greedy_answers.h"

#include <algorithm>

namespace candor::cli {

namespace {

constexpr int64_t kSampleTokens = 64;

}  // namespace

std::optional<engine::SamplingShape> answers_shape(std::span<const SampledRow> rows) {
  engine::SamplingShape shape{0, 1, 1, kSampleTokens};
  for (const SampledRow& row : rows) {
    ++shape.requests;
    shape.longest_prompt = std::max(shape.longest_prompt, static_cast<int64_t>(row.prompt.size()));
  }
  return shape.requests == 0 ? std::nullopt : std::optional(shape);
}

std::optional<std::vector<std::string>> greedy_answers(const Session& session, const engine::Adapter* adapter,
                                                       std::span<const SampledRow> rows,
                                                       const std::function<bool()>& interrupted) {
  if (rows.empty()) return std::vector<std::string>();
  std::vector<engine::SampleRequest> requests;
  for (const SampledRow& row : rows) requests.push_back({{row.prompt.begin(), row.prompt.end()}, 1});
  engine::SamplingOptions greedy;
  greedy.temperature = 0;
  greedy.max_new_tokens = kSampleTokens;
  greedy.stop_ids = session.model.config.eos_ids;
  const auto answers = engine::sample(session.context, session.model, adapter, requests, greedy, nullptr,
                                      {.progress = {}, .interrupted = interrupted});
  if (answers.empty()) return std::nullopt;
  std::vector<std::string> texts;
  for (const auto& answer : answers)
    texts.push_back(session.tokenizer().decode(answer[0].ids, {.skip_special_tokens = true}));
  return texts;
}

files::Json samples_json(const Session& session, std::span<const SampledRow> rows, std::span<const std::string> before,
                         std::span<const std::string> after) {
  const auto text = [&](std::span<const int32_t> ids, bool skip) {
    return session.tokenizer().decode({ids.begin(), ids.end()}, {.skip_special_tokens = skip});
  };
  files::Json samples = files::Json::array();
  for (size_t i = 0; i < rows.size(); ++i)
    samples.push_back({{"prompt", text(rows[i].prompt, false)},
                       {"answer", text(rows[i].completion, true)},
                       {"before", before[i]},
                       {"after", after[i]}});
  return samples;
}

}  // namespace candor::cli
