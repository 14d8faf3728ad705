#include "cli/verbs.h"

#include <array>

namespace candor::cli {
namespace {

constexpr std::array kVerbs = {
    Verb{"quickstart", "[--key value ...]", "the whole story on the default model in minutes, ending in a page",
         quickstart},
    Verb{"plan", "[VERB] RECIPE.yaml", "what a run would hold in memory, by role, before anything is loaded", plan},
    Verb{"pretrain", "RECIPE.yaml [--key value]", "trains a new small model and its tokenizer from text", pretrain},
    Verb{"sft", "RECIPE.yaml [--key value]", "trains an adapter, or all weights, on given completions", sft},
    Verb{"dpo", "RECIPE.yaml [--key value]", "trains on pairs of a chosen and a rejected completion: DPO's family",
         dpo},
    Verb{"cpo", "RECIPE.yaml [--key value]", "the same without a reference: CPO, SimPO, AlphaPO", cpo},
    Verb{"orpo", "RECIPE.yaml [--key value]", "the same by likelihood and odds ratio", orpo},
    Verb{"kto", "RECIPE.yaml [--key value]", "trains on single completions that are wanted or not: KTO, BCO", kto},
    Verb{"reward", "RECIPE.yaml [--key value]", "trains a reward model on pairs", reward},
    Verb{"prm", "RECIPE.yaml [--key value]", "trains a process reward model on solutions with labelled steps", prm},
    Verb{"distill", "RECIPE.yaml [--key value]", "trains a student on a teacher's distributions", distill},
    Verb{"grpo", "RECIPE.yaml [--key value]", "trains a LoRA adapter by GRPO on a verifiable reward", grpo},
    Verb{"rloo", "RECIPE.yaml [--key value]", "the same by RLOO: each completion against the others of its prompt",
         rloo},
    Verb{"online_dpo", "RECIPE.yaml [--key value]", "the same by DPO on pairs that are sampled and rewarded",
         online_dpo},
    Verb{"xpo", "RECIPE.yaml [--key value]", "online DPO against the initial model's completions, with exploration",
         xpo},
    Verb{"nash_md", "RECIPE.yaml [--key value]", "the policy against its mixture with the initial model", nash_md},
    Verb{"ppo", "RECIPE.yaml [--key value]", "the same by PPO, with a critic and a reward model on one base", ppo},
    Verb{"chat", "MODEL", "talks with a model, with and without its adapter side by side", chat},
    Verb{"generate", "MODEL ROWS", "completions of prompts, with their log-probabilities", generate},
    Verb{"score", "MODEL ROWS", "log-probabilities of given text", score},
    Verb{"eval", "MODEL TASK", "accuracy on a task with known answers, with its interval", eval_task},
    Verb{"compare", "A B [TASK ...]", "two evaluations, or two models on tasks: is one better? Paired tests", compare},
    Verb{"audit", "MODEL PROPOSITIONS", "does it believe what it says? Sub-questions, controls, an interval", audit},
    Verb{"bench", "MODEL", "this machine's roof, and the fraction of it that the work reaches", bench},
    Verb{"data", "VERB ROWS ...", "files of rows: validate, stats, split, convert, dedup, pairs, task", data},
    Verb{"tokenize", "MODEL ROWS", "token ids of texts and conversations, and back", tokenize},
    Verb{"merge", "MODEL", "an adapter put into its base, as a Hugging Face directory", merge},
    Verb{"quantize", "MODEL", "a model in 8 or 4 bits, as a GGUF file", quantize},
    Verb{"inspect", "PATH", "what a model, an adapter, a file or a run's folder holds", inspect},
    Verb{"report", "RUN", "writes the page of a run: report.html in its folder", report},
    Verb{"guard", "VERB ...", "better, or better at pleasing: inspect a past run, control bands", guard},
    Verb{"propositions", "VERB ...", "what a model is audited on: check, world, convert, draft", propositions},
    Verb{"runs", "list|show|compare|...", "what ran on this machine: list, show, compare, delete, add", runs},
    Verb{"completion", "bash|zsh|fish", "the script with which a shell completes candor's words", completion},
};

}  // namespace

std::span<const Verb> verbs() {
  return kVerbs;
}

}  // namespace candor::cli
