#include "files/base_fingerprint.h"

#include "base/sha256.h"

namespace candor::files {

Result<std::string> base_fingerprint(const ModelFiles& model) {
  const ModelConfig& c = model.config;
  Sha256 sum;
  sum.update(fmt::format("{} {} {} {} {} {} {} {}\n", c.family, c.layers, c.hidden_size, c.intermediate_size, c.heads,
                         c.kv_heads, c.head_dim, c.vocab_size));
  std::vector<float> row;
  for (const WeightInfo& weight : model.weights->weights()) {
    sum.update(weight.name);
    row.resize(static_cast<size_t>(weight.shape.size() == 2 ? weight.shape[1] : 1));
    for (const int64_t at : {int64_t{0}, weight.shape[0] / 2}) {
      TRY(model.weights->read_rows(weight.name, at, at + 1, row.data()));
      sum.update({reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float)});
    }
  }
  return sum.hex();
}

}  // namespace candor::files
