// The evaluator's state, shared by the files that implement it: statements, expressions, calls.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/evaluator.h"
#include "text/jinja/runtime.h"

namespace candor::text::jinja {

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;

  const Value* find(std::string_view name) const;
  void set(const std::string& name, Value value);
};
using ScopePtr = std::shared_ptr<Scope>;

// A macro, or the body of a call block as its macro sees it.
struct Macro : Object {
  Macro(std::string name, const Stmt& statement, ScopePtr scope)
      : Object(ObjectKind::macro, std::move(name)), statement(statement), scope(std::move(scope)) {}
  std::optional<Value> attribute(std::string_view name) const override;
  void release() override { scope.reset(); }
  const Stmt& statement;
  ScopePtr scope;  // where it was defined
};

// The variable `loop`.
struct Loop : Object {
  Loop(const Stmt& statement, ScopePtr scope, std::shared_ptr<const std::vector<Value>> items, int64_t depth)
      : Object(ObjectKind::loop, "loop"),
        statement(statement),
        scope(std::move(scope)),
        items(std::move(items)),
        nesting(depth) {}
  std::optional<Value> attribute(std::string_view name) const override;
  void release() override;
  const Stmt& statement;
  ScopePtr scope;  // around the loop
  std::shared_ptr<const std::vector<Value>> items;
  size_t index = 0;
  int64_t nesting;
  std::optional<Value> last_changed;
};

struct Cycler : Object {
  explicit Cycler(std::vector<Value> items) : Object(ObjectKind::cycler, "cycler"), items(std::move(items)) {}
  std::optional<Value> attribute(std::string_view name) const override;
  void release() override { items.clear(); }
  std::vector<Value> items;
  size_t position = 0;
};

struct Joiner : Object {
  explicit Joiner(Value separator) : Object(ObjectKind::joiner, "joiner", std::move(separator)) {}
  void release() override { self = Value(); }
  bool used = false;
};

enum class Flow { next, break_loop, continue_loop };

class Evaluator {
 public:
  explicit Evaluator(const std::tm& now) { run_.now = now; }
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Result<Output> run(const Body& body, const Dict& variables);

 private:
  static constexpr int kMaxCalls = 800;  // expressions and statements within each other, through macros too

  // Statements (evaluator.cpp)
  Result<Flow> execute(const Body& body, const ScopePtr& scope);
  Result<Flow> execute_one(const Stmt& statement, const ScopePtr& scope);
  Result<Flow> dispatch(const Stmt& statement, const ScopePtr& scope);
  Result<void> print(const Stmt& statement, const ScopePtr& scope);
  Result<Flow> run_branches(const Stmt& statement, const ScopePtr& scope);
  Result<Flow> run_loop(const Stmt& statement, const ScopePtr& scope);
  Result<void> loop_over(const Stmt& statement, const ScopePtr& scope, const Value& iterable, int64_t nesting);
  Result<void> run_set_block(const Stmt& statement, const ScopePtr& scope);
  Result<void> run_generation(const Stmt& statement, const ScopePtr& scope);
  Result<void> assign(const Expr& target, Value value, const ScopePtr& scope);
  Result<void> write(std::string_view text);
  // Runs the body in a new scope inside `scope` and returns what it wrote.
  Result<std::string> capture(const Body& body, const ScopePtr& scope);
  ScopePtr inner(const ScopePtr& scope) const { return std::make_shared<Scope>(Scope{scope, {}}); }

  // Expressions (evaluator_expressions.cpp)
  Result<Value> evaluate(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_unlimited(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_name(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_items(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_dict(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_item(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_filter(const Expr& expr, const ScopePtr& scope, const std::optional<Value>& input);
  Result<Value> evaluate_test(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_comparison(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_concat(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_conditional(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_logic(const Expr& expr, const ScopePtr& scope);
  Result<Value> evaluate_call(const Expr& expr, const ScopePtr& scope);
  Result<Arguments> evaluate_arguments(const CallArguments& arguments, const ScopePtr& scope);

  // Calls (evaluator_calls.cpp)
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> call_function(const std::string& name, const Arguments& arguments);
  Result<Value> call_macro(Macro& macro, const Arguments& arguments);
  Result<Value> call_loop_method(const Value& self, const std::string& name, const Arguments& arguments);
  Result<Value> make_namespace(const Arguments& arguments);
  Result<Dict> make_dict_from(const Arguments& arguments);
  Result<Value> make_range(const Arguments& arguments);
  Result<std::optional<Value>> call_block_macro(const Stmt& statement, const ScopePtr& scope);

  template <typename T>
  Result<std::shared_ptr<T>> own(std::shared_ptr<T> object) {
    TRY(run_.charge(50));
    owned_.push_back(object);
    return object;
  }

  Runtime run_;
  ScopePtr root_;
  std::string text_;           // what the template itself has written
  std::string* out_ = &text_;  // where text goes now: text_ or a capture
  std::vector<std::pair<size_t, size_t>> spans_;
  int calls_ = 0;
  std::vector<std::shared_ptr<Object>> owned_;  // objects that could hold references to each other
};

Value function_named(std::string name);
bool is_global_function(std::string_view name);
Error namespace_name_error(const std::string& name);

}  // namespace candor::text::jinja
