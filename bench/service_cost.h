#pragma once

#include "bench/serve_case.h"
#include "text/tokenizer.h"

namespace fathom::bench {

// Processor seconds that an event takes without server and sockets: publishing a token, taking it
// from the link, making text and JSON of it. The bytes are dropped.
double service_seconds_per_event(const StreamForm& form,
                                 const text::Tokenizer& tokenizer,
                                 const Script& script,
                                 int streams,
                                 double seconds);

}  // namespace fathom::bench
