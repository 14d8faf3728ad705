// What making an adapter and reading one have in common (adapter.h).
#pragma once

#include <vector>

#include "engine/adapter.h"
#include "files/peft_pissa.h"

namespace candor::engine {

// A pair for everything in the model that can be adapted, without rank or place: the linear layers by layer, then the
// embedding, then the head.
std::vector<LoraPair> adaptable_pairs(const Model& model);

// Rank and scale as the adapter's config has them for this pair. Error: the config asks of this module what is not
// supported there.
Result<void> settle_pair(const files::LoraConfig& config, LoraPair& pair);

// Gives all pairs their places, and the buffers.
void lay_out(const Context& context, const Model& model, Adapter& adapter);

// PiSSA's start of a pair, from the base as it computes.
files::PissaStart pissa_start(const LoraPair& pair, int64_t rank);

// Row-major matrices [rows, columns] into the padded ones of a flat buffer, and back.
void put_rows(const float* from, int64_t rows, int64_t columns, int64_t from_row, float* to);
void take_rows(const float* from, int64_t rows, int64_t columns, float* to, int64_t to_row);

// modules_to_save: copies of the base's weights that the config names; or those that were saved.
Result<void> save_modules_of_base(const Context& context, const Model& model, Adapter& adapter);
Result<void> read_saved_modules(const Context& context, const Model& model, const files::PeftAdapter& saved,
                                Adapter& adapter);
void write_saved_modules(const Adapter& adapter, files::PeftAdapter& saved);

}  // namespace candor::engine
