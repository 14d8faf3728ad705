// A model opened for a verb: files, weights, threads and an adapter, until the verb ends.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/adapter.h"
#include "engine/model.h"
#include "engine/scalar_head.h"
#include "files/model_files.h"

namespace candor::cli {

struct Session {
  explicit Session(const engine::Kernels& kernels, int threads) : pool(threads), context{kernels, pool, ledger} {}

  engine::MemoryLedger ledger;
  ThreadPool pool;
  engine::Context context;
  files::ModelFiles files;  // with a tokenizer
  engine::Model model;
  std::optional<engine::Adapter> adapter;
  std::optional<engine::ScalarHead> head;  // that the adapter holds: a reward model's

  const text::Tokenizer& tokenizer() const { return *files.tokenizer; }
  const text::ChatTemplate* chat_template() const { return files.chat_template ? &*files.chat_template : nullptr; }
  const engine::Adapter* role() const { return adapter ? &*adapter : nullptr; }
};

// Threads and kernels alone, as open_files takes them.
Result<std::unique_ptr<Session>> empty_session(int threads);

// The files of a model, with threads and kernels, and no weight yet: `model` as a user writes it, threads 0 = the cores
// this process may use. The kernel level is the best one, or $CANDOR_CPU's.
Result<std::unique_ptr<Session>> open_files(const std::string& model, int threads);

// Then the weights. dtype and activations: as engine::choose_dtype takes them, empty = what the model's file holds.
Result<void> load_weights(Session& session, const std::string& dtype, const std::string& activations);

// Then `adapter`, a PEFT folder or empty. head_too: it may hold a scalar head.
Result<void> load_adapter(Session& session, const std::string& adapter, bool head_too = false);

// All of them.
Result<std::unique_ptr<Session>> open_session(const std::string& model, const std::string& adapter, int threads,
                                              const std::string& dtype = "", const std::string& activations = "");

}  // namespace candor::cli
