// Divergences between two heads, label smoothing and WPO's statistic: against whole rows of logits in double, against
// TRL's fused head (golden/losses/fused_head.json), and against themselves under every way to split the rows.
#include "engine/head_divergence.h"

#include <gtest/gtest.h>

#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::json_of;
using nlohmann::json;
using testing::Bench;
using testing::random_ids;

files::ModelConfig config_of(int64_t hidden, int64_t vocabulary = 1300) {
  files::ModelConfig config = testing::tiny_config();
  config.hidden_size = hidden;
  config.vocab_size = vocabulary;  // three blocks, the last one short
  config.layers = 1;
  return config;
}

// A head with hidden states, and what its forward says of some rows.
struct Side {
  const Bench& bench;
  Model model;
  int64_t width;
  std::vector<float> hidden;
  std::vector<HeadRow> rows;
  HeadOutput output;
  double temperature;
  std::vector<float> kept;
  int64_t rows_kept = 0;

  Side(Bench& of, uint64_t seed, int64_t hidden_size, int64_t count, double tau)
      : bench(of), model(of.random_model(seed, config_of(hidden_size))), width(padded(hidden_size)), temperature(tau) {
    hidden.resize(static_cast<size_t>(count * width));
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = 0; i < hidden_size; ++i)
        hidden[row * width + i] =
            static_cast<float>(2 * random_uniform({seed, RngStream::kData, 3, 0}, row * width + i) - 1);
      rows.push_back({row, static_cast<int32_t>(7 * row % 1300)});
    }
    forward(0);
  }
  void forward(int64_t rows_to_keep) {
    rows_kept = rows_to_keep;
    kept.assign(static_cast<size_t>(kept_floats(rows_to_keep, model.config.vocab_size)), 0.0f);
    output = head_forward(*bench.context, model.head_matrix(), hidden.data(), rows, temperature, std::nullopt,
                          KeptLogits{kept.data(), rows_to_keep, 0});
  }
  HeadView view(size_t first, size_t count) {
    return {&model.head_matrix(),
            hidden.data(),
            std::span(rows).subspan(first, count),
            std::span(output.log_sums).subspan(first, count),
            temperature,
            std::nullopt,
            {kept.data(), rows_kept, static_cast<int64_t>(first)}};
  }
  HeadView view() { return view(0, rows.size()); }

  // ln p of a row, in double; and W.
  std::vector<double> log_p(size_t row) const {
    std::vector<double> z;
    std::vector<float> w(static_cast<size_t>(width));
    for (int64_t v = 0; v < model.config.vocab_size; ++v) {
      model.head_matrix().copy_row(v, w.data());
      double sum = 0;
      for (int64_t i = 0; i < model.config.hidden_size; ++i)
        sum += static_cast<double>(w[i]) * static_cast<double>(hidden[rows[row].hidden_row * width + i]);
      z.push_back(sum / temperature);
    }
    double maximum = *std::max_element(z.begin(), z.end()), total = 0;
    for (const double x : z) total += std::exp(x - maximum);
    for (double& x : z) x -= maximum + std::log(total);
    return z;
  }
  // d loss / d hidden from d loss / d logits·τ of a row.
  std::vector<double> down(const std::vector<double>& dz) const {
    std::vector<double> out(static_cast<size_t>(model.config.hidden_size));
    std::vector<float> w(static_cast<size_t>(width));
    for (int64_t v = 0; v < model.config.vocab_size; ++v) {
      model.head_matrix().copy_row(v, w.data());
      for (size_t i = 0; i < out.size(); ++i) out[i] += dz[v] / temperature * static_cast<double>(w[i]);
    }
    return out;
  }
};

double divergence_of(const std::vector<double>& s, const std::vector<double>& t, double beta,
                     std::vector<double>* d = nullptr) {
  double of_first = 0, of_other = 0;
  std::vector<double> m = beta == 0 ? s : t;
  for (size_t v = 0; v < s.size(); ++v) {
    if (beta > 0 && beta < 1) m[v] = std::log(beta * std::exp(t[v]) + (1 - beta) * std::exp(s[v]));
    of_first += std::exp(s[v]) * (s[v] - m[v]);
    of_other += std::exp(t[v]) * (t[v] - m[v]);
  }
  const double weight = beta < 1 ? 1 - beta : 1;
  for (size_t v = 0; d != nullptr && v < s.size(); ++v)
    d->push_back(beta == 0 ? std::exp(s[v]) - std::exp(t[v]) : weight * std::exp(s[v]) * (s[v] - m[v] - of_first));
  return beta == 0 ? of_other : weight * of_first + (beta < 1 ? beta * of_other : 0);
}

// Worst error of the gradient by hidden states, relative to each row's size; and of the values.
struct Errors {
  double value = 0, gradient = 0;
};
Errors errors_of(Side& student, Side& teacher, double beta, double claimed_beta) {
  const Context& context = *student.bench.context;
  const Divergence d = head_divergence(context, student.view(), teacher.view(), beta);
  std::vector<float> coefficients, gradient(student.hidden.size(), 0.0f);
  for (size_t i = 0; i < student.rows.size(); ++i) coefficients.push_back(0.5f + 0.25f * static_cast<float>(i % 3));
  HeadDerivatives derivatives;
  const HeadView other = teacher.view();
  derivatives.divergence = coefficients;
  derivatives.other = &other;
  derivatives.diverged = &d;
  head_backward(context, student.model.head_matrix(), student.hidden.data(), student.rows, student.temperature,
                student.output, derivatives, gradient.data(), nullptr);
  Errors worst;
  for (size_t row = 0; row < student.rows.size(); ++row) {
    std::vector<double> dz;
    const double truth = divergence_of(student.log_p(row), teacher.log_p(row), claimed_beta, &dz);
    const std::vector<double> expected = student.down(dz);
    double error = 0, size = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double want = static_cast<double>(coefficients[row]) * expected[i];
      error += std::pow(static_cast<double>(gradient[row * static_cast<size_t>(student.width) + i]) - want, 2);
      size += want * want;
    }
    worst.value = std::max(worst.value, std::abs(d.values[row] - truth));
    worst.gradient = std::max(worst.gradient, std::sqrt(error / size));
  }
  return worst;
}

TEST(HeadDivergence, IsThatOfWholeRowsAndRejectsTheWrongEnd) {
  for (const char* level : {"plain", ""})
    for (const double beta : {0.0, 0.2, 0.5, 1.0}) {
      Bench bench(2, level);
      Side student(bench, 1, 40, 9, 0.8), teacher(bench, 2, 24, 9, 0.8);
      const Errors errors = errors_of(student, teacher, beta, beta);
      EXPECT_LT(errors.value, 3e-6) << level << beta;     // logits up to 15, half a unit in the last place each
      EXPECT_LT(errors.gradient, 1e-5) << level << beta;  // of the same
      const Errors swapped = errors_of(student, teacher, beta, beta == 0.5 ? 0.45 : 1 - beta);
      EXPECT_GT(swapped.value, 1e-3) << beta;
      EXPECT_GT(swapped.gradient, 1e-3) << beta;
    }
}

TEST(HeadDivergence, IsZeroFromItself) {
  Bench bench;
  Side side(bench, 1, 40, 5, 1.0);
  for (const double beta : {0.0, 0.5, 1.0})
    for (const double value : head_divergence(*bench.context, side.view(), side.view(), beta).values)
      EXPECT_NEAR(value, 0, 1e-7);  // ln of a rounded 1
}

// Rows alone or together, one thread or three, logits kept or computed again, a skipped row beside: the same bits.
TEST(HeadDivergence, NoSplitChangesABit) {
  for (const char* dtype : {"float32", "bfloat16", "int8"}) {
    struct Numbers {
      std::vector<double> values;
      std::vector<float> gradient;
    };
    const auto run = [&](int threads, int64_t keep, size_t step) {
      Bench bench(threads, "", testing::dtype_of(dtype));
      Side student(bench, 1, 40, 210, 1.0), teacher(bench, 2, 24, 210, 1.0);
      student.forward(keep);
      Numbers all;
      all.gradient.assign(student.hidden.size(), 0.0f);
      for (size_t first = 0; first < student.rows.size(); first += step) {
        const size_t count = std::min(step, student.rows.size() - first);
        const HeadView own = student.view(first, count), other = teacher.view(first, count);
        const Divergence d = head_divergence(*bench.context, own, other, 0.4);
        all.values.insert(all.values.end(), d.values.begin(), d.values.end());
        std::vector<float> coefficients, logprob;
        for (size_t i = first; i < first + count; ++i) {
          coefficients.push_back(i % 4 == 1 ? 0.0f : 0.1f);
          logprob.push_back(i % 3 == 1 ? 0.0f : -0.2f);
        }
        HeadDerivatives derivatives{logprob, {}, {}, coefficients, &other, &d};
        head_backward(*bench.context, student.model.head_matrix(), student.hidden.data(), own.rows, 1.0,
                      student.output.slice(first, count), derivatives, all.gradient.data(), nullptr, std::nullopt,
                      own.kept);
      }
      return all;
    };
    const Numbers whole = run(2, 0, 210);
    EXPECT_GT(whole.values[0], 0.01) << dtype;
    for (const auto& [threads, keep, step] : {std::tuple(1, 0, 210), std::tuple(3, 0, 210), std::tuple(2, 210, 210),
                                              std::tuple(2, 100, 210), std::tuple(2, 0, 1), std::tuple(2, 100, 37)}) {
      const Numbers split = run(threads, keep, static_cast<size_t>(step));
      EXPECT_EQ(split.values, whole.values) << dtype << threads << ' ' << keep << ' ' << step;
      EXPECT_EQ(split.gradient, whole.gradient) << dtype << threads << ' ' << keep << ' ' << step;
    }
  }
}

// Every derivative at once is the sum of each by itself.
TEST(HeadDivergence, DerivativesAddUp) {
  Bench bench;
  Side student(bench, 1, 40, 8, 0.9), teacher(bench, 2, 24, 8, 0.9);
  const HeadView other = teacher.view();
  const Divergence d = head_divergence(*bench.context, student.view(), other, 1.0);
  const std::vector<float> a(8, 0.3f), b(8, -0.2f), c(8, 0.4f), e(8, 0.7f);
  const auto gradient = [&](const HeadDerivatives& derivatives) {
    std::vector<float> out(student.hidden.size(), 0.0f);
    head_backward(*bench.context, student.model.head_matrix(), student.hidden.data(), student.rows, 0.9, student.output,
                  derivatives, out.data(), nullptr);
    return out;
  };
  const auto all = gradient({a, b, c, e, &other, &d});
  const auto alone = {gradient({a, {}}), gradient({{}, b}), gradient({{}, {}, c}),
                      gradient({{}, {}, {}, e, &other, &d})};
  for (size_t i = 0; i < all.size(); ++i) {
    double sum = 0;
    for (const auto& one : alone) sum += static_cast<double>(one[i]);
    EXPECT_NEAR(static_cast<double>(all[i]), sum, 2e-6);  // four roundings of numbers up to 4
  }
}

TEST(VocabularyStatisticsOfAHead, AreThoseOfWholeRows) {
  Bench bench;
  Side side(bench, 1, 40, 9, 0.8);
  const VocabularyStatistics statistics = vocabulary_statistics(*bench.context, side.view());
  std::vector<float> gradient(side.hidden.size(), 0.0f);
  head_backward(*bench.context, side.model.head_matrix(), side.hidden.data(), side.rows, 0.8, side.output,
                {{}, {}, std::vector<float>(9, 1.0f)}, gradient.data(), nullptr);
  for (size_t row = 0; row < side.rows.size(); ++row) {
    const std::vector<double> log_p = side.log_p(row);
    double squares = 0, mean = 0;
    std::vector<double> dz;
    for (const double x : log_p) {
      squares += std::exp(2 * x), mean += x / 1300;
      dz.push_back(1.0 / 1300 - std::exp(x));
    }
    EXPECT_NEAR(statistics.log_sum_sq_probs[row], std::log(squares), 3e-6);  // logits up to 15
    EXPECT_NEAR(statistics.mean_logprobs[row], mean, 3e-6);
    const std::vector<double> expected = side.down(dz);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(static_cast<double>(gradient[row * static_cast<size_t>(side.width) + i]), expected[i], 1e-5);
  }
}

// TRL's fused head, as far as our heads are alike: no bias, no softcap, no scale of the logits.
class GivenHead : public files::WeightReader {
 public:
  GivenHead(std::unique_ptr<files::WeightReader> inner, const json& weight) : inner_(std::move(inner)) {
    for (const json& row : weight.at("data")) rows_.push_back(row.get<std::vector<float>>());
  }
  const std::vector<files::WeightInfo>& weights() const override { return inner_->weights(); }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    if (name != "lm_head.weight") return inner_->read_rows(name, begin, end, out);
    for (int64_t row = begin; row < end; ++row)
      for (const float x : rows_[static_cast<size_t>(row)]) *out++ = x;
    return {};
  }

 private:
  std::unique_ptr<files::WeightReader> inner_;
  std::vector<std::vector<float>> rows_;
};

TEST(GoldenFusedHead, StatisticsAndGradients) {
  CANDOR_REQUIRE_FILE(golden("losses/fused_head.json"));
  int ran = 0;
  const json file = json_of(golden("losses/fused_head.json"));
  for (const json& c : file.at("cases")) {
    const json &in = c["inputs"], &options = c["config"], &out = c["outputs"];
    if (in.contains("bias") || !options["final_logit_softcapping"].is_null() || options["logit_scale"] != 1.0) continue;
    ++ran;
    Bench bench;
    files::ModelFiles files = testing::random_model_files(config_of(5, 11), 1);
    files.weights = std::make_unique<GivenHead>(std::move(files.weights), in["weight"]);
    const Model model = bench.load(files);
    const double temperature = options["temperature"];
    std::vector<float> hidden(6 * 16, 0.0f), dlogprob, dentropy, gradient(6 * 16, 0.0f);
    std::vector<HeadRow> rows;
    for (size_t row = 0; row < 6; ++row) {
      for (size_t i = 0; i < 5; ++i) hidden[row * 16 + i] = in["hidden"]["data"][row][i].get<float>();
      rows.push_back({static_cast<int64_t>(row), in["targets"]["data"][row]});
      dlogprob.push_back(in["coefficient_logprobs"]["data"][row]);
      dentropy.push_back(in["coefficient_entropies"]["data"][row]);
    }
    const HeadOutput head = head_forward(*bench.context, model.head_matrix(), hidden.data(), rows, temperature);
    const VocabularyStatistics more = vocabulary_statistics(
        *bench.context, {&model.head_matrix(), hidden.data(), rows, head.log_sums, temperature, std::nullopt, {}});
    std::vector<float> dweight(static_cast<size_t>(model.head_matrix().data.size()), 0.0f);
    head_backward(*bench.context, model.head_matrix(), hidden.data(), rows, temperature, head, {dlogprob, dentropy},
                  gradient.data(), dweight.data());
    const json& expected = out["intermediates"];
    for (size_t row = 0; row < 6; ++row) {
      const auto number = [&](const char* name) { return expected[name]["data"][row].get<double>(); };
      // Float32 inputs and five products: TRL's own float32 is as far from the file (its README: 1.5e-6).
      EXPECT_NEAR(static_cast<double>(head.logprobs[row]), number("logprobs"), 2e-6) << c["name"];
      EXPECT_NEAR(static_cast<double>(head.entropy[row]), number("entropies"), 2e-6) << c["name"];
      EXPECT_NEAR(more.log_sum_sq_probs[row], number("log_sum_sq_probs"), 2e-6) << c["name"];
      const double mean_logit = more.mean_logprobs[row] + head.log_sums[row];
      EXPECT_NEAR(mean_logit, number("mean_logits"), 2e-6) << c["name"];
      for (size_t i = 0; i < 5; ++i)
        EXPECT_NEAR(static_cast<double>(gradient[row * 16 + i]),
                    out["gradients"]["hidden"]["data"][row][i].get<double>(), 2e-6)
            << c["name"];
    }
    const std::vector<float> by_weight = candor::testing::unpacked(dweight.data(), 11, 5);
    for (size_t v = 0; v < 11; ++v)
      for (size_t i = 0; i < 5; ++i)
        EXPECT_NEAR(static_cast<double>(by_weight[v * 5 + i]), out["gradients"]["weight"]["data"][v][i].get<double>(),
                    2e-6)
            << c["name"];
  }
  EXPECT_EQ(ran, 2);
}

// Through whole models: the policy with its adapter against the model alone.
TEST(HeadDivergence, OfAPolicyFromItsReference) {
  Bench bench;
  const Model model = bench.random_model();
  Adapter adapter = bench.random_adapter(model);
  const auto prompt = random_ids(20, 1100, 1), completion = random_ids(9, 1100, 2);
  const RolloutGroup group{prompt, {completion}};
  PolicyPass policy(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
  PolicyPass reference(*bench.context, "reference", model, 0, PolicyPass::Keep::kOneLayer);
  const auto kl = [&](double beta) {
    policy.forward(&adapter, {&group, 1}, 0.9);
    reference.forward(nullptr, {&group, 1}, 0.9);
    double sum = 0;
    for (const double value : policy.divergence(reference.head_view(), beta).values) sum += value;
    return sum;
  };
  // The derivative along a direction, against a difference of the values: they are of float32 models, so the step is
  // large and the tolerance that of its square.
  for (const double beta : {0.0, 0.5, 1.0}) {
    kl(beta);
    const HeadView other = reference.head_view();
    const Divergence d = policy.divergence(other, beta);
    const Trainable trainable = trainable_of(adapter);
    std::vector<float> gradients(static_cast<size_t>(trainable.gradient_floats), 0.0f);
    const std::vector<float> ones(completion.size(), 1.0f);
    policy.backward(trainable, {{}, {}, {}, ones, &other, &d}, gradients.data());
    double slope = 0, size = 0;
    for (const float g : gradients) size += static_cast<double>(g) * static_cast<double>(g);
    slope = std::sqrt(size);
    const std::vector<float> before(adapter.parameters.data(), adapter.parameters.data() + adapter.parameters.size());
    const auto moved = [&](double step) {
      for (size_t i = 0; i < gradients.size(); ++i)
        adapter.parameters[static_cast<int64_t>(i)] =
            before[i] + static_cast<float>(step / slope * static_cast<double>(gradients[i]));
      pack_adapter(*bench.context, adapter);
      return kl(beta);
    };
    constexpr double kStep = 3e-3;
    const double difference = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    moved(0);
    EXPECT_NEAR(difference / slope, 1, 5e-3) << beta;
  }
}

}  // namespace
}  // namespace candor::engine
