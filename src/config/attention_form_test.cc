#include "config/attention_form.h"

#include <gtest/gtest.h>

namespace fathom::config {
namespace {

TEST(AttentionForm, NamesReadBack) {
  for (const AttentionForm form : {AttentionForm::kAbsorbed, AttentionForm::kExpanded}) {
    EXPECT_EQ(parse_attention_form(attention_form_name(form)).value(), form);
  }
}

TEST(AttentionForm, RefusesOtherWords) {
  const Status refused = parse_attention_form("mha").status();

  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.message(), "--attention-form is 'mha', expected absorbed or expanded");
}

}  // namespace
}  // namespace fathom::config
