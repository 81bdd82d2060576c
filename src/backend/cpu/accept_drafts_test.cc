#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

HostTensor ints(std::initializer_list<std::int32_t> values) {
  HostTensor tensor(DType::kI32, {static_cast<std::int64_t>(values.size())});
  tensor.set_ints(values);
  return tensor;
}

TEST(AcceptDrafts, TheFirstDrawThatDiffersIsTheLastOfUse) {
  CpuStream stream(1);
  HostTensor first = ints({0, 1, 3, 5, 9, 13});
  HostTensor drawn = ints({7, 4, 5, 4, 5, 1, 2, 3, 4, 1, 9, 3, 4});
  HostTensor draft = ints({-1, 4, -1, 3, -1, 1, 2, 3, -1, 1, 2, 3, -1});
  HostTensor row = ints({10, 20, 21, 30, 31, 40, 41, 42, 43, 50, 51, 52, 53});
  HostTensor accepted(DType::kI32, {5});
  HostTensor last(DType::kI32, {5});

  accept_drafts(
      stream, {first.view(), drawn.view(), draft.view(), row.view(), accepted.view(), last.view()});

  // Without drafts; one right; one wrong; three right; the second of three wrong, the third's
  // agreement of no use.
  EXPECT_EQ(accepted.content(), ints({0, 1, 0, 3, 1}).content());
  EXPECT_EQ(last.content(), ints({10, 21, 30, 43, 51}).content());
}

TEST(AcceptDrafts, NobodyIsANoOp) {
  CpuStream stream(1);
  HostTensor first = ints({0});
  HostTensor none(DType::kI32, {0});
  const ops::AcceptDraftsArgs args{first.view(), none.view(), none.view(),
                                   none.view(),  none.view(), none.view()};
  EXPECT_TRUE(ops::validate(args).ok());
  accept_drafts(stream, args);
}

TEST(FollowRows, GoAheadAsFarAsThereArePages) {
  CpuStream stream(1);
  HostTensor from = ints({3, 0, 2, 1, 3});
  HostTensor position = ints({10, -1, 63, 7});
  HostTensor sequence = ints({5, 0, 2, 9});
  HostTensor end = ints({64, 64, 64, 64, 9});
  HostTensor next_position(DType::kI32, {5});
  HostTensor next_sequence(DType::kI32, {5});

  follow_rows(stream, {from.view(), position.view(), sequence.view(), end.view(),
                       next_position.view(), next_sequence.view(), 2});

  EXPECT_EQ(next_position.content(), ints({9, 12, -1, -1, -1}).content());
  EXPECT_EQ(next_sequence.content(), ints({9, 5, 2, 0, 9}).content());
}

}  // namespace
}  // namespace fathom::cpu
