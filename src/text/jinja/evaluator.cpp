// Statements; expressions and calls are in the files beside this one.
#include "text/jinja/evaluator.h"

#include <algorithm>

#include "text/jinja/evaluator_impl.h"
#include "text/jinja/lexer.h"
#include "text/jinja/operators.h"

namespace candor::text::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope; scope = scope->parent.get()) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  for (auto& [known, old] : variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

Evaluator::~Evaluator() {
  for (auto& object : owned_) object->release();
  if (root_) root_->variables.clear();
}

Result<Output> Evaluator::run(const Body& body, const Dict& variables) {
  root_ = std::make_shared<Scope>();
  for (const auto& [key, value] : variables.entries) root_->variables.emplace_back(*key.text(), value);
  TRY(execute(body, root_));
  for (auto& [start, end] : spans_) {
    end = std::min(end, text_.size());
    start = std::min(start, end);
  }
  return Output{std::move(text_), std::move(spans_)};
}

Result<void> Evaluator::write(std::string_view text) {
  if (out_->size() + text.size() > kMaxTextBytes) return error("the output grows beyond 64 MiB");
  TRY(run_.charge_text(text.size()));
  out_->append(text);
  return {};
}

Result<Flow> Evaluator::execute(const Body& body, const ScopePtr& scope) {
  for (const StmtPtr& statement : body) {
    Flow flow = TRY(execute_one(*statement, scope));
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Result<Flow> Evaluator::execute_one(const Stmt& statement, const ScopePtr& scope) {
  if (++calls_ > kMaxCalls)
    return at_line(statement.line, "the template's calls nest too deeply (does a macro call itself without end?)");
  auto charged = run_.charge(1);
  Result<Flow> flow = charged ? dispatch(statement, scope) : Result<Flow>(charged.error());
  --calls_;
  if (!flow) return at_line(statement.line, flow.error().message);
  return flow;
}

Result<Flow> Evaluator::dispatch(const Stmt& statement, const ScopePtr& scope) {
  switch (statement.kind) {
    case StmtKind::text:
      TRY(write(statement.text));
      break;
    case StmtKind::print:
      TRY(print(statement, scope));
      break;
    case StmtKind::if_branches:
      return run_branches(statement, scope);
    case StmtKind::for_loop:
      return run_loop(statement, scope);
    case StmtKind::set:
      TRY(assign(*statement.target, TRY(evaluate(*statement.value, scope)), scope));
      break;
    case StmtKind::set_block:
      TRY(run_set_block(statement, scope));
      break;
    case StmtKind::with: {
      ScopePtr body_scope = inner(scope);
      for (const auto& [target, value] : statement.bindings) {
        TRY(assign(*target, TRY(evaluate(*value, scope)), body_scope));
      }
      return execute(statement.body, body_scope);
    }
    case StmtKind::macro:
      scope->set(statement.text,
                 Value(std::shared_ptr<Object>(TRY(own(std::make_shared<Macro>(statement.text, statement, scope))))));
      break;
    case StmtKind::call_block: {
      auto caller = TRY(own(std::make_shared<Macro>("caller", statement, scope)));
      const Expr& call_expr = *statement.value;
      Arguments arguments = TRY(evaluate_arguments(call_expr.arguments, scope));
      arguments.named.emplace_back("caller", Value(std::shared_ptr<Object>(caller)));
      Value result = TRY(call(TRY(evaluate(*call_expr.kids[0], scope)), arguments));
      TRY(write(TRY(to_text(result))));
      break;
    }
    case StmtKind::filter_block: {
      std::string text = TRY(capture(statement.body, scope));
      Value result = TRY(evaluate_filter(*statement.value, scope, Value(std::move(text), run_.autoescape)));
      TRY(write(TRY(to_text(result))));
      break;
    }
    case StmtKind::block: {
      ScopePtr block_scope = inner(root_);
      return execute(statement.body, block_scope);
    }
    case StmtKind::autoescape: {
      bool before = std::exchange(run_.autoescape, is_true(TRY(evaluate(*statement.value, scope))));
      Result<Flow> flow = execute(statement.body, inner(scope));
      run_.autoescape = before;
      return flow;
    }
    case StmtKind::generation:
      TRY(run_generation(statement, scope));
      break;
    case StmtKind::break_loop:
      return Flow::break_loop;
    case StmtKind::continue_loop:
      return Flow::continue_loop;
    case StmtKind::unsupported:
      return error("{{% {} %}}: a chat template cannot load other templates", statement.text);
  }
  return Flow::next;
}

Result<void> Evaluator::print(const Stmt& statement, const ScopePtr& scope) {
  Value value = TRY(evaluate(*statement.value, scope));
  std::string text = TRY(to_text(value));
  return write(run_.autoescape && !value.is_safe() ? escape_html(text) : text);
}

Result<Flow> Evaluator::run_branches(const Stmt& statement, const ScopePtr& scope) {
  for (const Branch& branch : statement.branches) {
    if (!branch.test || is_true(TRY(evaluate(*branch.test, scope)))) return execute(branch.body, scope);
  }
  return Flow::next;
}

Result<Flow> Evaluator::run_loop(const Stmt& statement, const ScopePtr& scope) {
  TRY(loop_over(statement, scope, TRY(evaluate(*statement.value, scope)), 1));
  return Flow::next;
}

Result<void> Evaluator::loop_over(const Stmt& statement, const ScopePtr& scope, const Value& iterable,
                                  int64_t nesting) {
  std::vector<Value> items = TRY(iterate(run_, iterable));
  if (statement.condition) {
    std::vector<Value> kept;
    for (Value& item : items) {
      ScopePtr test_scope = inner(scope);
      test_scope->set("loop", make_undefined("'loop' is undefined: the condition of a loop cannot use it"));
      TRY(assign(*statement.target, item, test_scope));
      if (is_true(TRY(evaluate(*statement.condition, test_scope)))) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) {
    TRY(execute(statement.otherwise, inner(scope)));
    return {};
  }
  auto shared = std::make_shared<const std::vector<Value>>(std::move(items));
  auto loop = std::make_shared<Loop>(statement, scope, shared, nesting);
  for (; loop->index < shared->size(); ++loop->index) {
    TRY(run_.charge(5));  // for the scope
    ScopePtr body_scope = inner(scope);
    body_scope->set("loop", Value(std::shared_ptr<Object>(loop)));
    TRY(assign(*statement.target, (*shared)[loop->index], body_scope));
    if (TRY(execute(statement.body, body_scope)) == Flow::break_loop) break;
  }
  return {};
}

Result<std::string> Evaluator::capture(const Body& body, const ScopePtr& scope) {
  std::string text;
  std::string* before = std::exchange(out_, &text);
  Result<Flow> flow = execute(body, inner(scope));
  out_ = before;
  if (!flow) return flow.error();
  return text;
}

Result<void> Evaluator::run_set_block(const Stmt& statement, const ScopePtr& scope) {
  Value value(TRY(capture(statement.body, scope)), run_.autoescape);
  if (statement.value) value = TRY(evaluate_filter(*statement.value, scope, value));
  return assign(*statement.target, std::move(value), scope);
}

// The span is where the template itself stands: inside a set block or a filter block it is not where the text ends up.
Result<void> Evaluator::run_generation(const Stmt& statement, const ScopePtr& scope) {
  std::string text = TRY(capture(statement.body, scope));
  spans_.emplace_back(text_.size(), text_.size() + text.size());
  return write(text);
}

Result<void> Evaluator::assign(const Expr& target, Value value, const ScopePtr& scope) {
  if (target.kind == ExprKind::name) {
    scope->set(target.name, std::move(value));
    return {};
  }
  if (target.kind == ExprKind::attribute) {
    const Value* object = scope->find(target.kids[0]->name);
    if (!object || !object->object() || object->object()->kind != ObjectKind::name_space) {
      return error("cannot assign attribute on non-namespace object");
    }
    if (target.name.starts_with("_")) return namespace_name_error(target.name);
    object->object()->attributes.insert_text(target.name, std::move(value));
    return {};
  }
  std::vector<Value> items = TRY(iterate(run_, value));
  if (items.size() > target.kids.size()) return error("too many values to unpack (expected {})", target.kids.size());
  if (items.size() < target.kids.size()) {
    return error("not enough values to unpack (expected {}, got {})", target.kids.size(), items.size());
  }
  for (size_t i = 0; i < items.size(); ++i) TRY(assign(*target.kids[i], std::move(items[i]), scope));
  return {};
}

Result<Output> evaluate(const Body& body, const Dict& variables, const std::tm& now) {
  return Evaluator(now).run(body, variables);
}

}  // namespace candor::text::jinja
