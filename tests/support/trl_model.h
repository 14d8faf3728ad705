// The text side of the models that golden/text/trl_data names: one of golden/text/tokenizers, and the chat template of
// a run where it names one.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "data/text_reader.h"
#include "files/model_text.h"
#include "support/oracle.h"

namespace candor::testing {

struct TrlModel {
  files::ModelFiles files;
  bool has_tokenizer() const { return files.tokenizer.has_value(); }  // SentencePiece-style ones are not read
  data::TextReader reader() const {
    return {*files.tokenizer, files.chat_template ? &*files.chat_template : nullptr, files.special_tokens};
  }
};

inline TrlModel trl_model(const text::Json& run, const text::Json& templates) {
  TrlModel model;
  model.files.config.vocab_size = 1 << 30;
  files::attach_text(golden("text/tokenizers/" + run["tokenizer"].get<std::string>()), model.files);
  if (run.contains("template") && run["template"].is_string()) {
    const std::string file = templates[run["template"].get<std::string>()].get<std::string>();
    auto parsed = text::ChatTemplate::parse(read_text(golden("text/" + file)));
    EXPECT_TRUE(parsed) << file;
    if (parsed) model.files.chat_template = std::move(*parsed);
  }
  const text::Json& config = run["config"];
  if (config.is_object() && config.contains("eos_token")) model.files.special_tokens["eos_token"] = config["eos_token"];
  return model;
}

}  // namespace candor::testing
