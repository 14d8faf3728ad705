#include "text/jinja/filters.h"

#include "text/jinja/filters_impl.h"

namespace candor::text::jinja {

namespace {

const FilterTable& all_filters() {
  static const FilterTable kFilters = [] {
    FilterTable all;
    for (const FilterTable* table :
         {&text_filters(), &markup_filters(), &number_filters(), &sequence_filters(), &selection_filters()}) {
      all.insert(table->begin(), table->end());
    }
    return all;
  }();
  return kFilters;
}

}  // namespace

bool is_known_filter(std::string_view name) {
  return all_filters().contains(name);
}

Result<Value> apply_filter(Runtime& run, std::string_view name, const Arguments& arguments) {
  auto found = all_filters().find(name);
  if (found == all_filters().end()) return error("No filter named '{}'.", name);
  if (auto text = arguments.positional.empty() ? nullptr : arguments.positional[0].text())
    TRY(run.charge_text(text->size()));
  return found->second({run, name, arguments});
}

}  // namespace candor::text::jinja
