#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"

// Which rows a step's drafts leave, and which rows go on from them.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;

// A thread a sequence: it has few drafts.
__global__ void accept_drafts_kernel(const std::int32_t* first,
                                     const std::int32_t* drawn,
                                     const std::int32_t* draft,
                                     const std::int32_t* row,
                                     std::int32_t* accepted,
                                     std::int32_t* last,
                                     std::int32_t* token,
                                     int sequences) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= sequences) return;
  const int begin = first[i];
  const int end = first[i + 1] - 1;
  int at = begin;
  while (at < end && drawn[at] == draft[at]) ++at;
  accepted[i] = at - begin;
  last[i] = row[at];
  token[i] = drawn[at];
}

__global__ void follow_rows_kernel(const std::int32_t* from,
                                   const std::int32_t* position,
                                   const std::int32_t* sequence,
                                   const std::int32_t* end,
                                   std::int32_t* next_position,
                                   std::int32_t* next_sequence,
                                   std::int32_t ahead,
                                   int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const std::int32_t at = position[from[i]];
  next_position[i] = at >= 0 && at + ahead < end[i] ? at + ahead : -1;
  next_sequence[i] = sequence[from[i]];
}

struct Leaders {
  const std::int32_t* accepted;
  const std::int32_t* token;
  Rows<const std::int32_t> drafted;  // [drafts, leaders]
};

struct Followers {
  const std::int32_t* leader;
  const std::int32_t* row;
  const std::int32_t* draw;
  const std::int32_t* rows;
  int count;
};

__global__ void advance_rows_kernel(Leaders leaders,
                                    Followers followers,
                                    std::int32_t* id,
                                    std::int32_t* position,
                                    std::int32_t* drawn_position,
                                    std::int32_t* draft) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= followers.count) return;
  const int leader = followers.leader[i];
  const int rows = followers.rows[i];
  const std::int32_t accepted = leaders.accepted[leader];
  std::int32_t next = leaders.token[leader];
  for (int j = 0; j < rows; ++j) {
    const int row = followers.row[i] + j;
    const int draw = followers.draw[i] + j;
    id[row] = next;
    position[row] += accepted;
    drawn_position[draw] += accepted;
    if (j + 1 == rows) break;
    next = leaders.drafted.row(j)[leader];
    draft[draw] = next;
  }
}

}  // namespace

void accept_drafts(CUstream_st* stream, const ops::AcceptDraftsArgs& args) {
  const std::int64_t sequences = args.accepted.shape[0];
  if (sequences == 0) return;
  accept_drafts_kernel<<<blocks_for(sequences, kThreads), kThreads, 0, stream>>>(
      static_cast<const std::int32_t*>(args.first.data),
      static_cast<const std::int32_t*>(args.drawn.data),
      static_cast<const std::int32_t*>(args.draft.data),
      static_cast<const std::int32_t*>(args.row.data),
      static_cast<std::int32_t*>(args.accepted.data), static_cast<std::int32_t*>(args.last.data),
      static_cast<std::int32_t*>(args.token.data), static_cast<int>(sequences));
}

void follow_rows(CUstream_st* stream, const ops::FollowRowsArgs& args) {
  const std::int64_t count = args.from.shape[0];
  if (count == 0) return;
  follow_rows_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(
      static_cast<const std::int32_t*>(args.from.data),
      static_cast<const std::int32_t*>(args.position.data),
      static_cast<const std::int32_t*>(args.sequence.data),
      static_cast<const std::int32_t*>(args.end.data),
      static_cast<std::int32_t*>(args.next_position.data),
      static_cast<std::int32_t*>(args.next_sequence.data), args.ahead, static_cast<int>(count));
}

void advance_rows(CUstream_st* stream, const ops::AdvanceRowsArgs& args) {
  const std::int64_t count = args.leader.shape[0];
  if (count == 0) return;
  const Leaders leaders{static_cast<const std::int32_t*>(args.accepted.data),
                        static_cast<const std::int32_t*>(args.token.data),
                        Rows<const std::int32_t>(args.drafted)};
  const Followers followers{static_cast<const std::int32_t*>(args.leader.data),
                            static_cast<const std::int32_t*>(args.row.data),
                            static_cast<const std::int32_t*>(args.draw.data),
                            static_cast<const std::int32_t*>(args.rows.data),
                            static_cast<int>(count)};
  advance_rows_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(
      leaders, followers, static_cast<std::int32_t*>(args.id.data),
      static_cast<std::int32_t*>(args.position.data),
      static_cast<std::int32_t*>(args.drawn_position.data),
      static_cast<std::int32_t*>(args.draft.data));
}

}  // namespace fathom::cuda
