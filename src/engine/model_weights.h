// A model's weights under their names on disk: of one in memory, for saving (files/model_writer.h); and those that a
// training from nothing begins with.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model.h"

namespace candor::engine {

// Reads what the model holds when it is read. The model stays where it is.
class ModelWeights : public files::WeightReader {
 public:
  explicit ModelWeights(const Model& model);
  const std::vector<files::WeightInfo>& weights() const override { return infos_; }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override;

 private:
  void add(const std::string& name, const PackedMatrix& matrix);
  void add(const std::string& name, const Buffer& vector, int64_t size);
  void add(const std::string& name, const NormWeights& norm, int64_t size);
  struct Place {
    const PackedMatrix* matrix;  // or
    const float* vector;
  };
  std::vector<files::WeightInfo> infos_;
  std::map<std::string, Place, std::less<>> places_;
};

// Transformers' initialisation: linear layers, embedding and head normal with this deviation, norms 1, biases 0. Drawn
// from (seed, initialisation, weight, element), the same bits on every machine. (Transformers also sets the
// embedding's row of pad_token_id to 0; here it is drawn like any other.)
std::unique_ptr<files::WeightReader> initial_weights(const files::ModelConfig& config, uint64_t seed,
                                                     double initializer_range = 0.02);

// A model with those weights.
Result<Model> make_model(const Context& context, const files::ModelConfig& config, uint64_t seed,
                         double initializer_range = 0.02);

// The names and shapes of a model's weights without their values, the matrices of this type ("F32", "BF16"): what a
// plan loads where there is a config.json alone.
std::unique_ptr<files::WeightReader> weight_shapes(const files::ModelConfig& config, const std::string& type);

}  // namespace candor::engine
