#pragma once

#include "base/status.h"
#include "text/json_fields.h"
#include "text/tokenizer_json.h"

namespace fathom::text {

// Reads the steps of a tokenizer.json around its vocabulary into `spec`: normalizer, pre_tokenizer,
// post_processor and decoder. kInvalidArgument names the step that is malformed or of another
// family than byte-level BPE.
Status read_pipeline(const json::object& root, TokenizerSpec& spec);

}  // namespace fathom::text
