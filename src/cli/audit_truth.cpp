#include "cli/audit_truth.h"

#include <fmt/format.h>

#include "belief/representation.h"

namespace candor::cli {

namespace {

using belief::ControlKind;
using belief::Proposition;
using belief::StatementStates;
using belief::TruthReader;

constexpr uint64_t kRandomErasures = 3;

// Whether it is known of this kind of control, and not only arranged, what is true.
bool teaches(ControlKind kind) {
  return belief::believes(kind) || kind == ControlKind::kInstructed;
}

struct Reading {
  const AuditPhases& phases;
  std::vector<int64_t> layers;

  std::optional<StatementStates> states(std::span<const std::vector<int32_t>> sentences,
                                        const engine::Adapter* adapter) const {
    const Session& session = phases.session;
    phases.progress.doing(fmt::format("reading {} statements", sentences.size()));
    return belief::read_states({session.context, session.model, adapter, session.tokenizer()}, sentences, layers,
                               phases.interrupted);
  }
};

// Score 7 of a sample: the mean log-odds of p's side, by erasure.
Result<bool> add_use(const AuditPhases& phases, const TruthReader& reader, int64_t layer, AuditAnswers& found) {
  const AuditWork& work = phases.work;
  const std::vector<Proposition>& rows = work.propositions.rows;
  const std::vector<size_t> places = sample_of(rows, work.options.sample);
  std::vector<belief::Sheet> sheets = {work.bias};
  for (const size_t i : places) sheets.push_back(TRY(work.asker.questions_sheet(rows[i])));
  // The sides of the sample behind one erasure; nothing: interrupted.
  const auto sides = [&](const std::string& phase,
                         belief::Erasure erasure) -> Result<std::optional<std::vector<double>>> {
    const engine::HiddenDoor door =
        engine::erase_from_hidden(layer, std::move(erasure.u), std::move(erasure.v), std::move(erasure.mean));
    const auto numbers = TRY(phases.ask(phase, sheets, phases.session.role(), {&door, 1}));
    if (!numbers) return std::optional<std::vector<double>>();
    const belief::Bias bias = belief::bias_of((*numbers)[0]);
    std::vector<double> all;
    for (size_t i = 0; i < places.size(); ++i)
      all.push_back(belief::mean_side(rows[places[i]], (*numbers)[i + 1], bias));
    return std::optional(std::move(all));
  };
  const auto erased = TRY(sides("truth erased", reader.erasure()));
  if (!erased) return false;
  std::vector<double> random(places.size(), 0.0);
  for (uint64_t seed = 0; seed < kRandomErasures; ++seed) {
    const auto one = TRY(sides(fmt::format("random direction {} erased", seed + 1), reader.random_erasure(seed)));
    if (!one) return false;
    for (size_t i = 0; i < places.size(); ++i) random[i] += (*one)[i] / static_cast<double>(kRandomErasures);
  }
  for (size_t i = 0; i < places.size(); ++i) found.answers[places[i]].use = random[i] - (*erased)[i];
  return true;
}

}  // namespace

int64_t state_bytes(const AuditWork& work, const files::ModelConfig& config) {
  size_t sentences = 0;
  for (const AskedGroup* group : {&work.propositions, &work.recalled, &work.told, &work.fabricated, &work.parroted})
    sentences += group->sentences.size();
  const auto layers = static_cast<int64_t>(belief::probed_layers(config.layers).size());
  return static_cast<int64_t>(sentences) * layers * config.hidden_size * static_cast<int64_t>(sizeof(float));
}

Result<bool> add_truth(const AuditPhases& phases, std::span<AskedControls> controls, AuditAnswers& found) {
  const AuditWork& work = phases.work;
  const Reading reading{phases, belief::probed_layers(phases.session.model.config.layers)};
  std::vector<Proposition> rows;
  std::vector<std::vector<int32_t>> sentences;
  for (const AskedControls& asked : controls)
    for (size_t i = 0; i < asked.kinds.size() && teaches(asked.kinds[i]); ++i) {
      rows.push_back(asked.group.rows[i]);
      for (const size_t negated : {0, 1}) sentences.push_back(asked.group.sentences[2 * i + negated]);
    }
  const auto taught = reading.states(sentences, phases.session.role());
  if (!taught) return false;
  phases.progress.doing(fmt::format("how likely {} statements are", sentences.size()));
  const auto plausibility = belief::read_plausibility(
      {phases.session.context, phases.session.model, phases.session.role(), phases.session.tokenizer()}, sentences,
      phases.interrupted);
  if (!plausibility) return false;
  const std::optional<TruthReader> reader = TruthReader::fit(rows, *taught, *plausibility);
  if (!reader) {
    found.notes.push_back("Scores 6 and 7 were not run: fewer than ten recalled or ten false controls to learn from.");
    return true;
  }
  const int64_t layer = reading.layers[reader->layer()];
  found.probes = reader->reports();
  found.probe_layer = layer;
  if (work.options.scores.truth) {
    size_t next = 0;  // among the taught
    for (AskedControls& asked : controls) {
      if (asked.kinds.empty()) continue;
      const bool teaching = teaches(asked.kinds.front());
      std::optional<StatementStates> own;
      if (!teaching) own = reading.states(asked.group.sentences, asked.adapter);
      if (!teaching && !own) return false;
      for (size_t i = 0; i < asked.answers.size(); ++i)
        asked.answers[i].truth = teaching ? reader->score(asked.group.rows[i].topic, *taught, next++)
                                          : reader->score(asked.group.rows[i].topic, *own, i);
    }
    const auto own = reading.states(work.propositions.sentences, phases.session.role());
    if (!own) return false;
    for (size_t i = 0; i < found.answers.size(); ++i)
      found.answers[i].truth = reader->score(work.propositions.rows[i].topic, *own, i);
  }
  return work.options.scores.use ? add_use(phases, *reader, layer, found) : Result<bool>(true);
}

}  // namespace candor::cli
