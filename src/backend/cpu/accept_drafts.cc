#include "backend/cpu/kernels.h"
#include "base/check.h"

namespace fathom::cpu {

void accept_drafts(CpuStream& /*stream*/, const ops::AcceptDraftsArgs& args) {
  const auto* first = args.first.row<const std::int32_t>(0);
  const auto* drawn = args.drawn.row<const std::int32_t>(0);
  const auto* draft = args.draft.row<const std::int32_t>(0);
  const auto* row = args.row.row<const std::int32_t>(0);
  auto* accepted = args.accepted.row<std::int32_t>(0);
  auto* last = args.last.row<std::int32_t>(0);
  for (std::int64_t i = 0; i < args.accepted.shape[0]; ++i) {
    const std::int32_t begin = first[i];
    const std::int32_t end = first[i + 1] - 1;
    FATHOM_CHECK(begin >= 0 && begin <= end && end < args.drawn.shape[0]);
    std::int32_t at = begin;
    while (at < end && drawn[at] == draft[at]) ++at;
    accepted[i] = at - begin;
    last[i] = row[at];
  }
}

}  // namespace fathom::cpu
