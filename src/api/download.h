#pragma once

#include "api/core.h"
#include "api/stored_content.h"

namespace fathom::api {

// Answers with all of `content` as a stream of pieces. Each is read, on a thread of core.work, when
// the peer has taken the one before: a large file costs the memory of one piece, however slow its
// reader is. What cannot be read breaks the answer off.
void send_content(Core& core, Channel channel, StoredContent content);

}  // namespace fathom::api
