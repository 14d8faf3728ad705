#include <algorithm>

#include "text/jinja/evaluator_impl.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/tests.h"

namespace candor::text::jinja {

Result<Value> Evaluator::evaluate(const Expr& expr, const ScopePtr& scope) {
  if (calls_ >= kMaxCalls) return error("the template's calls nest too deeply (does a macro call itself without end?)");
  TRY(run_.charge(1));
  ++calls_;
  Result<Value> value = evaluate_unlimited(expr, scope);
  --calls_;
  if (value && value->depth() > kMaxDepth) return error("a value nests deeper than {} levels", kMaxDepth);
  return value;
}

Result<Value> Evaluator::evaluate_unlimited(const Expr& expr, const ScopePtr& scope) {
  switch (expr.kind) {
    case ExprKind::constant:
      return expr.value;
    case ExprKind::name:
      return evaluate_name(expr, scope);
    case ExprKind::tuple:
    case ExprKind::list:
      return evaluate_items(expr, scope);
    case ExprKind::dict:
      return evaluate_dict(expr, scope);
    case ExprKind::attribute:
      return get_attribute(run_, TRY(evaluate(*expr.kids[0], scope)), expr.name);
    case ExprKind::item:
      return evaluate_item(expr, scope);
    case ExprKind::slice:
      return error("a slice must stand alone in its brackets");
    case ExprKind::call:
      return evaluate_call(expr, scope);
    case ExprKind::filter:
      return evaluate_filter(expr, scope, std::nullopt);
    case ExprKind::test:
      return evaluate_test(expr, scope);
    case ExprKind::conditional:
      return evaluate_conditional(expr, scope);
    case ExprKind::compare:
      return evaluate_comparison(expr, scope);
    case ExprKind::concat:
      return evaluate_concat(expr, scope);
    case ExprKind::logical_and:
    case ExprKind::logical_or:
      return evaluate_logic(expr, scope);
    case ExprKind::logical_not:
      return Value(!is_true(TRY(evaluate(*expr.kids[0], scope))));
    case ExprKind::negate:
      return negate(TRY(evaluate(*expr.kids[0], scope)));
    case ExprKind::plus: {
      Value value = TRY(evaluate(*expr.kids[0], scope));
      if (value.is_undefined()) return undefined_error(value);
      if (!value.is_number()) return error("bad operand type for unary +: '{}'", type_name(value));
      return value.get<bool>() ? Value(to_big(value)) : value;
    }
    default: {
      Value left = TRY(evaluate(*expr.kids[0], scope));
      return arithmetic(run_, expr.kind, left, TRY(evaluate(*expr.kids[1], scope)));
    }
  }
}

Result<Value> Evaluator::evaluate_name(const Expr& expr, const ScopePtr& scope) {
  if (const Value* value = scope->find(expr.name)) return *value;
  if (is_global_function(expr.name)) return function_named(expr.name);
  return make_undefined(fmt::format("'{}' is undefined", expr.name));
}

Result<Value> Evaluator::evaluate_items(const Expr& expr, const ScopePtr& scope) {
  std::vector<Value> items;
  items.reserve(expr.kids.size());
  for (const ExprPtr& kid : expr.kids) items.push_back(TRY(evaluate(*kid, scope)));
  return expr.kind == ExprKind::list ? make_list(std::move(items)) : make_tuple(std::move(items));
}

Result<Value> Evaluator::evaluate_dict(const Expr& expr, const ScopePtr& scope) {
  Dict dict;
  for (size_t i = 0; i + 1 < expr.kids.size(); i += 2) {
    Value key = TRY(evaluate(*expr.kids[i], scope));
    std::string spelling = TRY(key_spelling(key));
    dict.insert(spelling, std::move(key), TRY(evaluate(*expr.kids[i + 1], scope)));
  }
  return make_dict(std::move(dict));
}

Result<Value> Evaluator::evaluate_item(const Expr& expr, const ScopePtr& scope) {
  Value object = TRY(evaluate(*expr.kids[0], scope));
  const Expr& key = *expr.kids[1];
  if (key.kind != ExprKind::slice) return get_item(run_, object, TRY(evaluate(key, scope)));
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (key.kids[i]) parts[i] = TRY(evaluate(*key.kids[i], scope));
  }
  return get_slice(run_, object, parts[0], parts[1], parts[2]);
}

Result<Value> Evaluator::evaluate_filter(const Expr& expr, const ScopePtr& scope, const std::optional<Value>& input) {
  Value value = expr.kids[0] == nullptr ? input.value_or(Value())
                                        : input && expr.kids[0]->kind == ExprKind::filter
                    ? TRY(evaluate_filter(*expr.kids[0], scope, input))
                                                                  : TRY(evaluate(*expr.kids[0], scope));
                                                                  Arguments arguments =
                                                                      TRY(evaluate_arguments(expr.arguments, scope));
                                                                  arguments.positional.insert(
                                                                      arguments.positional.begin(), std::move(value));
                                                                  return apply_filter(run_, expr.name, arguments);
}

Result<Value> Evaluator::evaluate_test(const Expr& expr, const ScopePtr& scope) {
  Value value = TRY(evaluate(*expr.kids[0], scope));
  Arguments arguments = TRY(evaluate_arguments(expr.arguments, scope));
  arguments.positional.insert(arguments.positional.begin(), std::move(value));
  return Value(TRY(apply_test(run_, expr.name, arguments)) != expr.negated);
}

Result<Value> Evaluator::evaluate_comparison(const Expr& expr, const ScopePtr& scope) {
  Value left = TRY(evaluate(*expr.kids[0], scope));
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = TRY(evaluate(*expr.kids[i + 1], scope));
    if (!TRY(compare(run_, expr.comparisons[i], left, right))) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Evaluator::evaluate_concat(const Expr& expr, const ScopePtr& scope) {
  std::string text;
  for (const ExprPtr& kid : expr.kids) {
    Value part = TRY(evaluate(*kid, scope));
    std::string words = TRY(to_text(part));
    text += run_.autoescape && !part.is_safe() ? escape_html(words) : words;
    TRY(run_.charge_text(text.size()));
  }
  return Value(std::move(text), run_.autoescape);
}

Result<Value> Evaluator::evaluate_conditional(const Expr& expr, const ScopePtr& scope) {
  if (is_true(TRY(evaluate(*expr.kids[0], scope)))) return evaluate(*expr.kids[1], scope);
  if (expr.kids.size() == 3) return evaluate(*expr.kids[2], scope);
  return make_undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined.", expr.line));
}

Result<Value> Evaluator::evaluate_logic(const Expr& expr, const ScopePtr& scope) {
  Value left = TRY(evaluate(*expr.kids[0], scope));
  if (is_true(left) == (expr.kind == ExprKind::logical_or)) return left;
  return evaluate(*expr.kids[1], scope);
}

Result<Value> Evaluator::evaluate_call(const Expr& expr, const ScopePtr& scope) {
  Value callee = TRY(evaluate(*expr.kids[0], scope));
  return call(callee, TRY(evaluate_arguments(expr.arguments, scope)));
}

Result<Arguments> Evaluator::evaluate_arguments(const CallArguments& given, const ScopePtr& scope) {
  Arguments arguments;
  for (const ExprPtr& expr : given.positional) arguments.positional.push_back(TRY(evaluate(*expr, scope)));
  if (given.star) {
    for (Value& item : TRY(iterate(run_, TRY(evaluate(*given.star, scope)))))
      arguments.positional.push_back(std::move(item));
  }
  for (const auto& [name, expr] : given.named) arguments.named.emplace_back(name, TRY(evaluate(*expr, scope)));
  if (given.star_star) {
    Value more = TRY(evaluate(*given.star_star, scope));
    if (!more.dict()) return error("argument after ** must be a mapping, not {}", type_name(more));
    for (const auto& [key, value] : more.dict()->entries) {
      if (!key.text()) return error("keywords must be strings");
      arguments.named.emplace_back(*key.text(), value);
    }
  }
  return arguments;
}

}  // namespace candor::text::jinja
