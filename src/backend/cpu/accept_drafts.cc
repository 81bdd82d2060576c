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

void follow_rows(CpuStream& /*stream*/, const ops::FollowRowsArgs& args) {
  const auto* from = args.from.row<const std::int32_t>(0);
  const auto* position = args.position.row<const std::int32_t>(0);
  const auto* sequence = args.sequence.row<const std::int32_t>(0);
  const auto* end = args.end.row<const std::int32_t>(0);
  auto* next_position = args.next_position.row<std::int32_t>(0);
  auto* next_sequence = args.next_sequence.row<std::int32_t>(0);
  for (std::int64_t i = 0; i < args.from.shape[0]; ++i) {
    FATHOM_CHECK(from[i] >= 0 && from[i] < args.position.shape[0]);
    const std::int32_t at = position[from[i]];
    next_position[i] = at >= 0 && at + args.ahead < end[i] ? at + args.ahead : -1;
    next_sequence[i] = sequence[from[i]];
  }
}

}  // namespace fathom::cpu
