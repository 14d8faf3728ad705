#include "eval/generation.h"

#include "engine/score.h"

namespace candor::eval {

std::optional<std::vector<Answered>> answer_prompts(const Subject& subject, const data::PromptSet& prompts,
                                                    const engine::SamplingOptions& options,
                                                    const engine::SamplingCallbacks& callbacks, int64_t each) {
  std::vector<engine::SampleRequest> requests;
  for (const data::Prompt& prompt : prompts.prompts) requests.push_back({prompt.ids, each});
  const auto sampled =
      engine::sample(subject.context, subject.model, subject.adapter, requests, options, &subject.tokenizer, callbacks);
  if (sampled.empty()) return std::nullopt;
  std::vector<Answered> answers;
  for (const auto& request : sampled)
    for (const engine::Completion& completion : request)
      answers.push_back({subject.tokenizer.decode(completion.ids, {.skip_special_tokens = true}),
                         static_cast<int64_t>(completion.ids.size()), completion.finished});
  return answers;
}

std::optional<std::vector<double>> score_choices(const Subject& subject, const ChoiceSet& set,
                                                 const std::function<void(int64_t)>& progress,
                                                 const std::function<bool()>& interrupted) {
  std::vector<double> logprobs;
  engine::score_sequences(subject.context, subject.model, subject.adapter, set.ids,
                          [&](size_t i, const engine::SequenceScore& score) {
                            double sum = 0;
                            for (size_t t = set.first[i]; t < score.logprobs.size(); ++t)
                              sum += static_cast<double>(score.logprobs[t]);
                            logprobs.push_back(sum);
                            if (progress) progress(static_cast<int64_t>(logprobs.size()));
                            return !interrupted || !interrupted();
                          });
  if (logprobs.size() < set.ids.size()) return std::nullopt;
  return logprobs;
}

namespace {

Result<std::vector<std::vector<int32_t>>> prose_sequences(const text::Tokenizer& tokenizer) {
  std::vector<std::vector<int32_t>> sequences;
  for (std::string_view paragraph : prose_paragraphs())
    sequences.push_back(TRY(tokenizer.encode(paragraph, {.add_special_tokens = true})));
  return sequences;
}

}  // namespace

Result<std::vector<int64_t>> prose_lengths(const text::Tokenizer& tokenizer) {
  std::vector<int64_t> lengths;
  for (const auto& sequence : TRY(prose_sequences(tokenizer))) lengths.push_back(static_cast<int64_t>(sequence.size()));
  return lengths;
}

Result<ProseScore> score_prose(const Subject& subject) {
  const std::vector<std::vector<int32_t>> sequences = TRY(prose_sequences(subject.tokenizer));
  ProseScore score;
  engine::score_sequences(subject.context, subject.model, subject.adapter, sequences,
                          [&](size_t, const engine::SequenceScore& sequence) {
                            double nll = 0;
                            for (float logprob : sequence.logprobs) nll -= static_cast<double>(logprob);
                            score.nll_nats.push_back(nll);
                            score.tokens.push_back(static_cast<int64_t>(sequence.logprobs.size()) - 1);
                            return true;
                          });
  return score;
}

}  // namespace candor::eval
