#include "config/attention_form.h"

#include <string>

namespace fathom::config {

Result<AttentionForm> parse_attention_form(std::string_view text) {
  if (text == "absorbed") return AttentionForm::kAbsorbed;
  if (text == "expanded") return AttentionForm::kExpanded;
  return invalid_argument("--attention-form is '" + std::string(text) +
                          "', expected absorbed or expanded");
}

std::string_view attention_form_name(AttentionForm form) {
  return form == AttentionForm::kAbsorbed ? "absorbed" : "expanded";
}

}  // namespace fathom::config
