// DPO and its family against TRL 1.16 and 0.24: every case of golden/losses/dpo.json and dpo_trl_0.24.json, and twins
// with an option or a formula broken that these cases reject.
#include <gtest/gtest.h>

#include <functional>

#include "algorithms/dpo.h"
#include "algorithms/golden_numbers.h"

namespace candor::algorithms::testing {
namespace {

DpoType type_of(const std::string& name) {
  static const std::map<std::string, DpoType> types{
      {"sigmoid", DpoType::kSigmoid},          {"hinge", DpoType::kHinge},      {"ipo", DpoType::kIpo},
      {"sigmoid_norm", DpoType::kSigmoidNorm}, {"exo_pair", DpoType::kExoPair}, {"robust", DpoType::kRobust},
      {"discopop", DpoType::kDiscopop},        {"nca_pair", DpoType::kNcaPair}, {"bco_pair", DpoType::kBcoPair},
      {"sppo_hard", DpoType::kSppoHard},       {"aot", DpoType::kAot},          {"aot_unpaired", DpoType::kAotUnpaired},
      {"apo_zero", DpoType::kApoZero},         {"apo_down", DpoType::kApoDown}, {"sft", DpoType::kSft},
  };
  return types.at(name);
}

Divergence divergence_of(const std::string& name) {
  static const std::map<std::string, Divergence> divergences{{"reverse_kl", Divergence::kReverseKl},
                                                             {"forward_kl", Divergence::kForwardKl},
                                                             {"js_divergence", Divergence::kJs},
                                                             {"alpha_divergence", Divergence::kAlpha}};
  return divergences.at(name);
}

// What a test owns and dpo_loss reads.
struct DpoCase {
  PaddedRows rows;
  std::vector<double> logprobs, reference, log_sum_sq_probs, entropies, mean_logits;
  std::vector<uint8_t> correct;
  std::vector<int64_t> lengths;
  DpoOptions options;

  explicit DpoCase(const json& c)
      : rows(c["inputs"]["mask"], pair_order(c["inputs"]["mask"]["shape"][0].get<size_t>() / 2)) {
    const json &in = c["inputs"], &config = c["config"];
    logprobs = rows.in_order(tensor(in, "logprobs"));
    reference = rows.in_order(tensor(in, "reference_logprobs"));
    log_sum_sq_probs = rows.in_order(tensor(in, "log_sum_sq_probs"));
    entropies = rows.in_order(tensor(in, "entropies"));
    mean_logits = rows.in_order(tensor(in, "mean_logits"));
    for (double right : rows.in_order(tensor(in, "is_top1"))) correct.push_back(right != 0);
    if (config.value("empty_prompt", false))
      for (size_t i = 0; i < rows.order.size(); ++i) lengths.push_back(rows.rows().counted(i) + 1);
    options.beta = config["beta"];
    options.label_smoothing = config["label_smoothing"];
    options.f_divergence = divergence_of(config["f_divergence_type"]);
    options.losses.clear();
    if (config["loss_type"].is_string()) {  // TRL 0.24, whose sigmoid has label_smoothing and whose α is 1 - ours
      const DpoType type = type_of(config["loss_type"]);
      options.losses.push_back({type == DpoType::kSigmoid ? DpoType::kCdpo : type, 1.0});
      options.f_alpha = 1.0 - config["alpha_divergence_coef"].get<double>();
      if (config["reference_free"]) reference.clear();
      return;
    }
    for (size_t k = 0; k < config["loss_type"].size(); ++k)
      options.losses.push_back({type_of(config["loss_type"][k]),
                                config["loss_weights"].is_null() ? 1.0 : config["loss_weights"][k].get<double>()});
    options.f_alpha = config["f_alpha_divergence_coef"];
    if (!config["ld_alpha"].is_null()) options.ld_alpha = config["ld_alpha"].get<double>();
    options.use_weighting = config["use_weighting"];
    options.discopop_tau = config["discopop_tau"];
  }

  PreferenceInputs inputs() const {
    PreferenceInputs in{rows.rows(), logprobs, reference};
    in.log_sum_sq_probs = log_sum_sq_probs;
    in.entropies = entropies;
    in.mean_logits = mean_logits;
    in.correct = correct;
    in.lengths = lengths;
    return in;
  }
};

// The first number of TRL's that ours is not, or "".
std::string mismatch(const json& c, const DpoCase& ours) {
  if (const auto valid = check(ours.options); !valid) return valid.error().message;
  const auto loss = dpo_loss(ours.inputs(), ours.options);
  if (!loss) return loss.error().message;
  Comparison compare{c};
  compare.number_is("loss", loss->loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", ours.rows.back(loss->d_logprobs), tensor(c["outputs"]["gradients"], "logprobs"));
  std::vector<std::string> left_out;  // without a reference our rewards have none; TRL 0.24's still had one
  if (ours.reference.empty() && c["config"].value("reference_free", false))
    left_out = {"rewards/chosen", "rewards/rejected"};
  compare.metrics_are(preference_metrics(loss->pairs, measured(ours.inputs())), c["outputs"]["metrics"], left_out);
  return compare.wrong;
}

TEST(DpoGolden, EveryCase) {
  CANDOR_REQUIRE_FILE(candor::testing::golden("losses/dpo.json"));
  const auto cases = golden_cases("dpo.json");
  EXPECT_EQ(cases.size(), 129u);
  for (const json& c : cases) EXPECT_EQ(mismatch(c, DpoCase(c)), "");
}

TEST(DpoGolden, EveryCaseOfTrl024) {
  CANDOR_REQUIRE_FILE(candor::testing::golden("losses/dpo_trl_0.24.json"));
  const auto cases = golden_cases("dpo_trl_0.24.json");
  EXPECT_EQ(cases.size(), 11u);
  for (const json& c : cases) EXPECT_EQ(mismatch(c, DpoCase(c)), "");
}

TEST(DpoGolden, TwinsAreRejected) {
  CANDOR_REQUIRE_FILE(candor::testing::golden("losses/dpo.json"));
  const std::vector<std::pair<std::string, std::function<void(DpoCase&)>>> twins{
      {"the reference forgotten", [](DpoCase& c) { c.reference.clear(); }},
      {"chosen and rejected swapped",
       [](DpoCase& c) {
         for (size_t i = 0; i < c.rows.order.size(); i += 2)
           std::swap_ranges(&c.logprobs[i * c.rows.width], &c.logprobs[i * c.rows.width] + c.rows.width,
                            &c.logprobs[(i + 1) * c.rows.width]);
       }},
      {"the mask ignored", [](DpoCase& c) { std::fill(c.rows.mask.begin(), c.rows.mask.end(), uint8_t{1}); }},
      {"beta", [](DpoCase& c) { c.options.beta *= 1.01; }},
      {"label_smoothing", [](DpoCase& c) { c.options.label_smoothing *= 0.5; }},
      {"sigmoid smoothed, as in 0.24",
       [](DpoCase& c) {
         for (auto& loss : c.options.losses)
           if (loss.type == DpoType::kSigmoid) loss.type = DpoType::kCdpo;
       }},
      {"the divergence", [](DpoCase& c) { c.options.f_divergence = Divergence::kReverseKl; }},
      {"alpha of 0.24", [](DpoCase& c) { c.options.f_alpha = 1.0 - c.options.f_alpha; }},
      {"ld_alpha", [](DpoCase& c) { c.options.ld_alpha.reset(); }},
      {"WPO", [](DpoCase& c) { c.options.use_weighting = false; }},
      {"discopop_tau", [](DpoCase& c) { c.options.discopop_tau *= 1.1; }},
      {"weights of the list averaged",
       [](DpoCase& c) {
         for (auto& loss : c.options.losses) loss.weight /= static_cast<double>(c.options.losses.size());
       }},
      {"the empty prompt's token", [](DpoCase& c) { c.lengths.clear(); }},
      {"aot unpaired",
       [](DpoCase& c) {
         for (auto& loss : c.options.losses)
           if (loss.type == DpoType::kAot) loss.type = DpoType::kAotUnpaired;
       }},
      {"ipo on sums", [](DpoCase& c) { c.lengths.assign(c.rows.order.size(), 1); }},
  };
  const auto cases = golden_cases("dpo.json");
  for (const auto& [name, break_it] : twins) {
    int rejected = 0;
    for (const json& c : cases) {
      DpoCase twin(c);
      break_it(twin);
      rejected += !mismatch(c, twin).empty();
    }
    EXPECT_GT(rejected, 0) << name;
  }
}

}  // namespace
}  // namespace candor::algorithms::testing
