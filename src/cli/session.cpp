#include "cli/session.h"

#include <cstdlib>

#include "cli/terminal.h"
#include "engine/roles.h"
#include "files/peft_adapter.h"

namespace candor::cli {

Result<std::unique_ptr<Session>> empty_session(int threads) {
  const char* level = std::getenv("CANDOR_CPU");
  const engine::Kernels* kernels = TRY(engine::select_kernels(level == nullptr ? "" : level));
  return std::make_unique<Session>(*kernels, threads > 0 ? threads : available_cores());
}

Result<std::unique_ptr<Session>> open_files(const std::string& model, int threads) {
  auto session = TRY(empty_session(threads));
  session->files = TRY(files::open_model(TRY(files::resolve_model(model))));
  if (!session->files.tokenizer)
    return Error{session->files.no_tokenizer + " Copy tokenizer.json from the model's repository into this folder."};
  return session;
}

Result<void> load_weights(Session& session, const std::string& dtype, const std::string& activations) {
  session.model =
      TRY(engine::load_model(session.context, session.files,
                             TRY(engine::choose_dtype(dtype, activations, session.files, session.context.kernels))));
  return {};
}

Result<void> load_adapter(Session& session, const std::string& adapter, bool head_too) {
  if (adapter.empty()) return {};
  files::PeftAdapter saved = TRY(files::read_peft_adapter(adapter));
  if (head_too) session.head = TRY(engine::take_scalar_head(session.context, session.model, saved));
  session.adapter = TRY(engine::adapter_from_peft(session.context, session.model, saved));
  if (const auto same = engine::check_base(session.model, saved); !same)
    print_note(fmt::format("{} The answers are those of this base with that adapter.", same.error().message));
  return {};
}

Result<std::unique_ptr<Session>> open_session(const std::string& model, const std::string& adapter, int threads,
                                              const std::string& dtype, const std::string& activations) {
  auto session = TRY(open_files(model, threads));
  TRY(load_weights(*session, dtype, activations));
  TRY(load_adapter(*session, adapter));
  return session;
}

}  // namespace candor::cli
