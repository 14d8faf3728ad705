#include "text/jinja/tests.h"

#include <map>

#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/string_methods.h"

namespace candor::text::jinja {

bool is_callable(const Value& value) {
  if (value.is_undefined()) return true;
  Object* o = value.object();
  return o && o->kind != ObjectKind::name_space && o->kind != ObjectKind::cycler;
}

namespace {

struct TestCall {
  Runtime& run;
  std::string_view name;
  const Arguments& arguments;

  Result<Bound> bind(size_t count) const {
    static constexpr std::string_view kNames[] = {"value", "other"};
    if (arguments.positional.size() != count || !arguments.named.empty()) {
      return error("test '{}' takes {} argument(s)", name, count - 1);
    }
    return count == 1 ? jinja::bind(name, {kNames[0]}, 1, arguments)
                      : jinja::bind(name, {kNames[0], kNames[1]}, 2, arguments);
  }
};

using Test = Result<bool> (*)(const TestCall&);

template <bool (*holds)(const Value&)>
Result<bool> simple(const TestCall& c) {
  Bound b = TRY(c.bind(1));
  return holds(*b[0]);
}

template <Comparison op>
Result<bool> comparison(const TestCall& c) {
  Bound b = TRY(c.bind(2));
  return compare(c.run, op, *b[0], *b[1]);
}

Result<int64_t> remainder(Runtime& run, const Value& value, const Value& by) {
  Value rest = TRY(arithmetic(run, ExprKind::modulo, value, by));
  if (!rest.is_number()) return error("not all arguments converted during string formatting");
  return to_double(rest) == 0 ? 0 : to_double(rest) == 1 ? 1 : 2;
}

Result<bool> is_odd(const TestCall& c) {
  return TRY(remainder(c.run, *TRY(c.bind(1))[0], Value(int64_t{2})))
  == 1;
}
Result<bool> is_even(const TestCall& c) {
  return TRY(remainder(c.run, *TRY(c.bind(1))[0], Value(int64_t{2})))
  == 0;
}

Result<bool> divisible(const TestCall& c) {
  Bound b = TRY(c.bind(2));
  return TRY(remainder(c.run, *b[0], *b[1]))
  == 0;
}

Result<bool> same_as(const TestCall& c) {
  Bound b = TRY(c.bind(2));
  const Value &left = *b[0], &right = *b[1];
  if (left.sequence() || right.sequence()) return left.sequence() == right.sequence();
  if (left.dict() || right.dict()) return left.dict() == right.dict();
  return type_name(left) == type_name(right) && TRY(equal(c.run, left, right));
}

Result<bool> is_filter(const TestCall& c) {
  Bound b = TRY(c.bind(1));
  return b[0]->text() && is_known_filter(*b[0]->text());
}

Result<bool> is_test(const TestCall& c) {
  Bound b = TRY(c.bind(1));
  return b[0]->text() && is_known_test(*b[0]->text());
}

template <bool upper>
Result<bool> cased(const TestCall& c) {
  return has_case(TRY(to_text(*TRY(c.bind(1))[0])), upper);
}

bool is_defined(const Value& v) {
  return !v.is_undefined();
}
bool is_undefined(const Value& v) {
  return v.is_undefined();
}
bool is_none(const Value& v) {
  return v.is_none();
}
bool is_boolean(const Value& v) {
  return v.get<bool>() != nullptr;
}
bool is_false(const Value& v) {
  return v.get<bool>() && !*v.get<bool>();
}
bool is_true_value(const Value& v) {
  return v.get<bool>() && *v.get<bool>();
}
bool is_whole(const Value& v) {
  return v.is_integer() && !v.get<bool>();
}
bool is_float(const Value& v) {
  return v.get<double>() != nullptr;
}
bool is_a_number(const Value& v) {
  return v.is_number();
}
bool is_string(const Value& v) {
  return v.text() != nullptr;
}
bool is_mapping(const Value& v) {
  return v.dict() != nullptr;
}
bool is_escaped(const Value& v) {
  return v.is_safe();
}
bool is_iterable(const Value& v) {
  bool loop = v.object() && v.object()->kind == ObjectKind::loop;
  return v.is_undefined() || v.text() || v.sequence() || v.dict() || loop;
}
bool is_sequence(const Value& v) {
  const Sequence* s = v.sequence();
  bool indexed = s && s->kind != SequenceKind::iterator && s->kind != SequenceKind::keys &&
                 s->kind != SequenceKind::values && s->kind != SequenceKind::items;
  return v.is_undefined() || v.text() || v.dict() || indexed;
}

const std::map<std::string_view, Test>& tests() {
  static const std::map<std::string_view, Test> kTests = {
      {"odd", is_odd},
      {"even", is_even},
      {"divisibleby", divisible},
      {"defined", simple<is_defined>},
      {"undefined", simple<is_undefined>},
      {"filter", is_filter},
      {"test", is_test},
      {"none", simple<is_none>},
      {"boolean", simple<is_boolean>},
      {"false", simple<is_false>},
      {"true", simple<is_true_value>},
      {"integer", simple<is_whole>},
      {"float", simple<is_float>},
      {"lower", cased<false>},
      {"upper", cased<true>},
      {"string", simple<is_string>},
      {"mapping", simple<is_mapping>},
      {"number", simple<is_a_number>},
      {"sequence", simple<is_sequence>},
      {"iterable", simple<is_iterable>},
      {"callable", simple<is_callable>},
      {"sameas", same_as},
      {"escaped", simple<is_escaped>},
      {"in", comparison<Comparison::in>},
      {"==", comparison<Comparison::eq>},
      {"eq", comparison<Comparison::eq>},
      {"equalto", comparison<Comparison::eq>},
      {"!=", comparison<Comparison::ne>},
      {"ne", comparison<Comparison::ne>},
      {">", comparison<Comparison::gt>},
      {"gt", comparison<Comparison::gt>},
      {"greaterthan", comparison<Comparison::gt>},
      {"ge", comparison<Comparison::ge>},
      {">=", comparison<Comparison::ge>},
      {"<", comparison<Comparison::lt>},
      {"lt", comparison<Comparison::lt>},
      {"lessthan", comparison<Comparison::lt>},
      {"<=", comparison<Comparison::le>},
      {"le", comparison<Comparison::le>},
  };
  return kTests;
}

}  // namespace

bool is_known_test(std::string_view name) {
  return tests().contains(name);
}

Result<bool> apply_test(Runtime& run, std::string_view name, const Arguments& arguments) {
  auto found = tests().find(name);
  if (found == tests().end()) return error("No test named '{}'.", name);
  return found->second({run, name, arguments});
}

}  // namespace candor::text::jinja
