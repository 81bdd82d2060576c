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
  auto* token = args.token.row<std::int32_t>(0);
  for (std::int64_t i = 0; i < args.accepted.shape[0]; ++i) {
    const std::int32_t begin = first[i];
    const std::int32_t end = first[i + 1] - 1;
    FATHOM_CHECK(begin >= 0 && begin <= end && end < args.drawn.shape[0]);
    std::int32_t at = begin;
    while (at < end && drawn[at] == draft[at]) ++at;
    accepted[i] = at - begin;
    last[i] = row[at];
    token[i] = drawn[at];
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

void advance_rows(CpuStream& /*stream*/, const ops::AdvanceRowsArgs& args) {
  const auto* leader = args.leader.row<const std::int32_t>(0);
  const auto* rows = args.rows.row<const std::int32_t>(0);
  for (std::int64_t i = 0; i < args.leader.shape[0]; ++i) {
    const std::int32_t from = leader[i];
    const std::int32_t row = args.row.row<const std::int32_t>(0)[i];
    const std::int32_t draw = args.draw.row<const std::int32_t>(0)[i];
    FATHOM_CHECK(from >= 0 && from < args.accepted.shape[0]);
    FATHOM_CHECK(rows[i] >= 1 && rows[i] <= 1 + args.drafted.shape[0]);
    FATHOM_CHECK(row >= 0 && row + rows[i] <= args.id.shape[0]);
    FATHOM_CHECK(draw >= 0 && draw + rows[i] <= args.draft.shape[0]);
    const std::int32_t accepted = args.accepted.row<const std::int32_t>(0)[from];
    for (std::int32_t j = 0; j < rows[i]; ++j) {
      args.id.row<std::int32_t>(0)[row + j] =
          j == 0 ? args.token.row<const std::int32_t>(0)[from]
                 : args.drafted.row<const std::int32_t>(j - 1)[from];
      args.position.row<std::int32_t>(0)[row + j] += accepted;
      args.drawn_position.row<std::int32_t>(0)[draw + j] += accepted;
      if (j + 1 < rows[i]) {
        args.draft.row<std::int32_t>(0)[draw + j] = args.drafted.row<const std::int32_t>(j)[from];
      }
    }
  }
}

}  // namespace fathom::cpu
