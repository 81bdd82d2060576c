#include "text/jinja/template.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/jinja/evaluator.h"
#include "text/jinja/parser.h"
#include "text/utf8.h"

namespace fathom::text::jinja {

Template::Template(std::unique_ptr<const Syntax> syntax) : syntax_(std::move(syntax)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Result<Template> Template::parse(std::string_view source, const Limits& limits) {
  if (const std::size_t valid = valid_utf8_prefix(source); valid != source.size()) {
    return invalid_argument("the template is not UTF-8 at byte " + std::to_string(valid));
  }
  Result<Syntax> syntax = jinja::parse(source, limits);
  FATHOM_RETURN_IF_ERROR(syntax.status());
  return Template(std::make_unique<const Syntax>(std::move(syntax).value()));
}

Result<std::string> Template::render(const Json& variables, const Limits& limits) const {
  FATHOM_CHECK(variables.is_object());
  Budget budget(limits);
  Evaluator::Variables values;
  for (const JsonMember& member : *variables.as_object()) {
    values.emplace_back(member.key, from_json(budget, member.value));
  }
  FATHOM_RETURN_IF_ERROR(budget.failure());
  Evaluator evaluator(*syntax_, budget);
  std::string text = evaluator.run(values);
  FATHOM_RETURN_IF_ERROR(budget.failure());
  return text;
}

namespace {

bool is_content(const Expression& expression) {
  if (expression.kind == ExpressionKind::kAttribute) return expression.text == "content";
  if (expression.kind != ExpressionKind::kItem) return false;
  const Value& key = expression.operands[1]->constant;
  return key.is(Kind::kString) && key.as_string() == "content";
}

// As deep as the source nests. NOLINTNEXTLINE(misc-no-recursion)
bool loops_over_content(const Body& body) {
  return std::any_of(body.begin(), body.end(), [](const Statement& statement) {
    if (statement.kind == StatementKind::kFor && is_content(*statement.expressions[0])) return true;
    if (statement.macro && loops_over_content(statement.macro->body)) return true;
    return loops_over_content(statement.body) || loops_over_content(statement.other) ||
           std::any_of(statement.branches.begin(), statement.branches.end(),
                       [](const Branch& branch) { return loops_over_content(branch.body); });
  });
}

}  // namespace

bool Template::reads_content_parts() const { return loops_over_content(syntax_->body); }

}  // namespace fathom::text::jinja
