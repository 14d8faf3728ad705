// Parity with TRL 1.16: every case of golden/losses/grpo_losses.json and gmpo.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "algorithms/advantages.h"
#include "algorithms/golden_case.h"
#include "algorithms/sampler_correction.h"
#include "support/oracle.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;
using candor::testing::read_text;

// The first thing in which our numbers differ from the case's, or "".
std::string mismatch(const json& c, const Batch& b, const GrpoLoss& loss, double tolerance) {
  const json& expected = c["outputs"];
  auto check = [&](const std::string& what, double value, double want) {
    if (difference(value, want) <= tolerance) return std::string();
    return fmt::format("{}: {} is {:.17g}, TRL's {:.17g}", c["name"].get<std::string>(), what, value, want);
  };
  if (auto s = check("loss", loss.loss(), number(expected["loss"])); !s.empty()) return s;
  const auto d = tensor(expected["gradients"], "logprobs");
  for (size_t t = 0; t < d.size(); ++t)
    if (auto s = check(fmt::format("d_logprobs[{}]", t), loss.d_logprobs[t], d[t]); !s.empty()) return s;
  const auto d_entropies = tensor(expected["gradients"], "entropies");
  for (size_t t = 0; t < d_entropies.size(); ++t)
    if (auto s = check(fmt::format("d_entropies[{}]", t), loss.d_entropies[t], d_entropies[t]); !s.empty()) return s;
  const auto metrics = logged_metrics(b, loss);
  if (c["inputs"]["logprobs"]["shape"][1] == 1) return "";  // TRL takes [N,1] for one ratio per row, masked or not
  for (const auto& [name, want] : expected["metrics"].items()) {
    if (name.starts_with("sampling/") || name == "policy_loss" || name == "entropy_coef") continue;  // not grpo_loss's
    if (!metrics.contains(name)) return c["name"].get<std::string>() + ": no metric " + name;
    if (auto s = check(name, metrics.at(name), number(want)); !s.empty()) return s;
  }
  return "";
}

TEST(GrpoGolden, EveryCase) {
  const auto path = golden("losses/grpo_losses.json");
  CANDOR_REQUIRE_FILE(path);
  int ran = 0;
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    ++ran;
    const Batch b = batch_of(c);
    EXPECT_EQ(mismatch(c, b, grpo_loss(b.inputs(), b.options), 1e-12), "");
  }
  EXPECT_EQ(ran, 195);
}

// GMPO has a trainer and a file of its own: micro-batches in place of steps_per_generation, and a KL that is plain k3.
TEST(GrpoGolden, EveryGmpoCase) {
  const auto path = golden("losses/gmpo.json");
  CANDOR_REQUIRE_FILE(path);
  int ran = 0, rejected = 0;
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    ++ran;
    const Batch b = gmpo_batch_of(c);
    EXPECT_EQ(mismatch(c, b, grpo_loss(b.inputs(), b.options), 1e-12), "");
    Batch twin = b;
    twin.options.epsilon_high = twin.options.epsilon = 1e9;  // never clipped
    rejected += !mismatch(c, b, grpo_loss(twin.inputs(), twin.options), 1e-12).empty();
  }
  EXPECT_EQ(ran, 6);
  EXPECT_GT(rejected, 0);
}

// The ratios that the cases with another sampler were made with.
TEST(GrpoGolden, SamplerCorrection) {
  const auto path = golden("losses/grpo_losses.json");
  CANDOR_REQUIRE_FILE(path);
  const std::map<std::string, SamplerCorrectionMode> modes{
      {"token_truncate", SamplerCorrectionMode::kTokenTruncate},
      {"token_mask", SamplerCorrectionMode::kTokenMask},
      {"sequence_truncate", SamplerCorrectionMode::kSequenceTruncate},
      {"sequence_mask", SamplerCorrectionMode::kSequenceMask}};
  int ran = 0;
  std::map<std::string, int> rejected;  // twins of the bounds and of each mode
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    if (!c["inputs"].contains("sampling_logprobs") || !c["inputs"].contains("importance_sampling_ratio")) continue;
    ++ran;
    const Batch b = batch_of(c);
    const auto mask = tensor(c["inputs"], "mask");  // TRL's tool mask does not reach the ratio
    std::vector<uint8_t> counted(mask.size());
    for (size_t t = 0; t < mask.size(); ++t) counted[t] = mask[t] != 0;
    const RaggedRows rows{b.offsets, counted};
    const json& config = c["config"];
    const SamplerCorrection options{modes.at(config["vllm_importance_sampling_mode"]),
                                    optional_number(config, "vllm_importance_sampling_clip_min"),
                                    optional_number(config, "vllm_importance_sampling_clip_max")};
    const auto worst = [&](const SamplerCorrection& o) {
      const auto ratios = sampler_correction(rows, b.old_logprobs, b.sampling, o);
      double d = 0;
      for (size_t t = 0; t < ratios.size(); ++t)
        if (counted[t]) d = std::max(d, difference(ratios[t], b.correction[t]));
      return d;
    };
    EXPECT_LE(worst(options), 1e-12) << c["name"];
    for (const auto& [name, mode] : modes)
      if (mode != options.mode) rejected[name] += worst({mode, options.min, options.max}) > 1e-6;
    rejected["no bounds"] += worst({options.mode, {}, {}}) > 1e-6;
  }
  EXPECT_EQ(ran, 24);
  for (const auto& [name, count] : rejected) EXPECT_GT(count, 0) << name;
}

// What only TRL's cases can tell: a loss that ignores one of its options must disagree with one of them.
TEST(GrpoGolden, TwinsThatIgnoreAnOptionAreRejected) {
  const auto path = golden("losses/grpo_losses.json");
  CANDOR_REQUIRE_FILE(path);
  const std::vector<std::pair<std::string, std::function<void(Batch&)>>> twins{
      {"epsilon_high", [](Batch& b) { b.options.epsilon_high.reset(); }},
      {"delta", [](Batch& b) { b.options.delta.reset(); }},
      {"bound itself clipped", [](Batch& b) { b.options.epsilon = std::max(0.0, b.options.epsilon - 1e-15); }},
      {"beta", [](Batch& b) { b.options.beta = 0; }},
      {"use_bias_correction_kl", [](Batch& b) { b.options.kl_in_loss = KlInLoss::kCorrectedK3; }},
      {"importance_sampling_level", [](Batch& b) { b.options.importance_sampling_level = RatioLevel::kToken; }},
      {"off_policy_mask_threshold", [](Batch& b) { b.options.off_policy_mask_threshold.reset(); }},
      {"sampling log-probs", [](Batch& b) { b.sampling.clear(); }},
      {"sampler correction", [](Batch& b) { b.correction.clear(); }},
      {"top_entropy_quantile", [](Batch& b) { b.kept.clear(); }},
      {"entropy bonus", [](Batch& b) { std::fill(b.entropy_weights.begin(), b.entropy_weights.end(), 0.0); }},
      {"vespo's k", [](Batch& b) { b.options.vespo_k_pos = b.options.vespo_k_neg; }},
      {"vespo's lambda", [](Batch& b) { b.options.vespo_lambda_pos = b.options.vespo_lambda_neg; }},
      {"sapo temperatures", [](Batch& b) { b.options.sapo_temperature_pos = b.options.sapo_temperature_neg; }},
      {"accumulation", [](Batch& b) { b.accumulation_steps = 1, b.normalize(); }},
      {"local batch", [](Batch& b) { b.local_batch_rows = 0, b.normalize(); }},
      {"steps_per_generation", [](Batch& b) { b.step_tokens = 0, b.normalize(); }},
      {"old log-probs", [](Batch& b) { b.old_logprobs.clear(); }},
  };
  const json cases = json::parse(read_text(path))["cases"];
  for (const auto& [name, ignore] : twins) {
    int rejected = 0;
    for (const json& c : cases) {
      const Batch b = batch_of(c);
      Batch broken = b;
      ignore(broken);
      rejected += !mismatch(c, b, grpo_loss(broken.inputs(), broken.options), 1e-12).empty();
    }
    EXPECT_GT(rejected, 0) << name;
  }
}

// Padding that is not there cannot matter: the same case with its masked tokens left out has the same bits.
TEST(GrpoGolden, PaddingChangesNoBit) {
  const auto path = golden("losses/grpo_losses.json");
  CANDOR_REQUIRE_FILE(path);
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    const Batch padded = batch_of(c);
    Batch ragged = padded;
    ragged.offsets = {0};
    ragged.mask.clear();
    std::vector<size_t> at;  // where a ragged token stands in the padded arrays
    for (size_t i = 0; i < padded.rows().size(); ++i) {
      for (size_t t = padded.rows().begin(i); t < padded.rows().end(i); ++t)
        if (padded.mask[t]) at.push_back(t);
      ragged.offsets.push_back(static_cast<int64_t>(at.size()));
    }
    auto gather = [&](const std::vector<double>& from, std::vector<double>& to) {
      to.clear();
      for (size_t t : at)
        if (!from.empty()) to.push_back(from[t]);
    };
    gather(padded.logprobs, ragged.logprobs);
    gather(padded.old_logprobs, ragged.old_logprobs);
    gather(padded.reference, ragged.reference);
    gather(padded.entropies, ragged.entropies);
    gather(padded.token_advantages, ragged.token_advantages);
    gather(padded.correction, ragged.correction);
    gather(padded.sampling, ragged.sampling);
    ragged.normalize();
    const GrpoLoss a = grpo_loss(padded.inputs(), padded.options), b = grpo_loss(ragged.inputs(), ragged.options);
    EXPECT_EQ(a.loss(), b.loss()) << c["name"];
    for (size_t k = 0; k < at.size(); ++k) EXPECT_EQ(a.d_logprobs[at[k]], b.d_logprobs[k]) << c["name"];
  }
}

TEST(GrpoGolden, EntropyControllerAfterTheStep) {
  const auto path = golden("losses/grpo_losses.json");
  CANDOR_REQUIRE_FILE(path);
  int ran = 0;
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    if (!c["config"]["use_adaptive_entropy"] || c["config"]["mode"] == "eval") continue;
    const json& config = c["config"];
    EntropyController controller{config["entropy_target"], config["entropy_coef_delta"], config["entropy_coef_min"],
                                 config["entropy_coef_max"], config["entropy_coef"]};
    if (config.contains("state_before")) {
      controller.coefficient = config["state_before"].value("entropy_coef", controller.coefficient);
      controller.last_entropy = config["state_before"].value("_last_world_entropy", controller.last_entropy);
    }
    const Batch b = batch_of(c);
    double sum = 0, count = 0;
    for (size_t t = 0; t < b.mask.size(); ++t)
      if (b.mask[t] && (b.kept.empty() || b.kept[t])) sum += b.entropies[t], ++count;
    controller.update(sum / count);
    const json& after = c["outputs"]["intermediates"];
    EXPECT_LE(difference(controller.coefficient, number(after["entropy_coef_after"])), 1e-12) << c["name"];
    EXPECT_LE(difference(controller.last_entropy, number(after["last_world_entropy_after"])), 1e-12) << c["name"];
    ++ran;
  }
  EXPECT_EQ(ran, 4);
}

std::vector<json> json_lines(const std::filesystem::path& path) {
  std::vector<json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

// Trainings of 10 steps by TRL: 20 recorded micro-batches with the log-probs that the loss was made of.
TEST(GrpoGolden, Trajectories) {
  for (const std::string name : {"grpo_lora", "grpo_lora_classic"}) {
    SCOPED_TRACE(name);
    const auto dir = golden("trajectories/" + name);
    CANDOR_REQUIRE_FILE(dir);
    const json config = json::parse(read_text(dir / "config.json"));
    const auto batches = json_lines(dir / "batches.jsonl"), steps = json_lines(dir / "steps.jsonl");
    const auto data = json_lines(dir / "data.jsonl");
    ASSERT_EQ(batches.size(), 20u);
    ASSERT_EQ(steps.size(), 10u);
    for (size_t step = 0; step < steps.size(); ++step) {
      Batch b;
      b.offsets = {0};
      std::vector<double> expected_d, rewards;
      const size_t generation = step / 2;
      for (size_t micro = 0; micro < 2; ++micro) {
        const json& line = batches[2 * step + micro];
        for (double m : tensor(line, "completion_mask")) b.mask.push_back(m != 0);
        for (size_t row = 0; row < line["completion_mask"].size(); ++row)
          b.offsets.push_back(b.offsets.back() + static_cast<int64_t>(line["completion_mask"][row].size()));
        for (auto [key, to] : {std::pair{"logprobs", &b.logprobs},
                               {"old_per_token_logps", &b.old_logprobs},
                               {"ref_per_token_logps", &b.reference},
                               {"entropies", &b.entropies},
                               {"advantages", &b.advantages},
                               {"d_loss_d_logprobs", &expected_d}})
          flatten(line[key], *to);
        b.step_tokens = line["num_items_in_batch"];
      }
      for (size_t i = 0; i < 8; ++i) rewards.push_back(data[8 * generation + i]["reward"]);
      const auto advantages = group_advantages(rewards, 1, 4, {});
      ASSERT_TRUE(advantages);
      for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(advantages->advantages[i], b.advantages[i], 2e-6);  // TRL: float32
      if (step % 2 == 0) {
        EXPECT_NEAR(advantages->reward_std, steps[step]["metrics"]["reward_std"], 1e-6);  // float32
        EXPECT_EQ(advantages->frac_reward_zero_std, steps[step]["metrics"]["frac_reward_zero_std"]);
      }

      b.local_batch_rows = 4;
      b.accumulation_steps = 2;
      b.options.loss_type = loss_type(config["loss_type"]);
      b.options.beta = config["beta"];
      b.options.kl_in_loss = config["use_bias_correction_kl"] ? KlInLoss::kCorrectedK3 : KlInLoss::kK3;
      b.normalize();
      const GrpoLoss got = grpo_loss(b.inputs(), b.options);
      for (size_t micro = 0; micro < 2; ++micro) {
        double loss = 0;
        for (size_t i = 4 * micro; i < 4 * micro + 4; ++i) loss += got.rows[i].loss;
        EXPECT_NEAR(loss, steps[step]["micro_batch_losses"][micro], 1e-7);  // float32 there; its README measured 2e-8
      }
      for (size_t t = 0; t < expected_d.size(); ++t) EXPECT_NEAR(got.d_logprobs[t], expected_d[t], 1e-7);  // the same
      for (const auto& [metric, value] : logged_metrics(b, got)) {
        if (metric.starts_with("kl_")) continue;                                                           // ours alone
        EXPECT_NEAR(value, steps[step]["metrics"].at(metric), 1e-6) << metric << " in step " << step + 1;  // float32
      }
    }
  }
}

}  // namespace
}  // namespace candor::algorithms::testing
