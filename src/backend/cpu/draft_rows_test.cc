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
  HostTensor token(DType::kI32, {5});

  accept_drafts(stream, {first.view(), drawn.view(), draft.view(), row.view(), accepted.view(),
                         last.view(), token.view()});

  // Without drafts; one right; one wrong; three right; the second of three wrong, the third's
  // agreement of no use.
  EXPECT_EQ(accepted.content(), ints({0, 1, 0, 3, 1}).content());
  EXPECT_EQ(last.content(), ints({10, 21, 30, 43, 51}).content());
  EXPECT_EQ(token.content(), ints({7, 5, 4, 4, 9}).content());
}

TEST(AcceptDrafts, NobodyIsANoOp) {
  CpuStream stream(1);
  HostTensor first = ints({0});
  HostTensor none(DType::kI32, {0});
  const ops::AcceptDraftsArgs args{first.view(), none.view(), none.view(), none.view(),
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

// Two followers among rows and draws that stay: one with two rows, one with a row alone.
TEST(AdvanceRows, GoOnFromWhatTheirLeadersGave) {
  CpuStream stream(1);
  HostTensor accepted = ints({1, 0, 2});
  HostTensor token = ints({70, 71, 72});
  HostTensor drafted(DType::kI32, {2, 3});
  drafted.set_ints({80, 81, 82, 90, 91, 92});
  HostTensor leader = ints({2, 0});
  HostTensor row = ints({1, 5});
  HostTensor draw = ints({0, 2});
  HostTensor rows = ints({2, 1});
  HostTensor id = ints({1, 0, 0, 4, 5, 0});
  HostTensor position = ints({9, 30, 31, 9, -1, 7});
  HostTensor drawn_position = ints({31, 32, 8, 5});
  HostTensor draft = ints({-1, -1, -1, -1});

  const ops::AdvanceRowsArgs args{accepted.view(),       token.view(), drafted.view(),
                                  leader.view(),         row.view(),   draw.view(),
                                  rows.view(),           id.view(),    position.view(),
                                  drawn_position.view(), draft.view()};
  ASSERT_TRUE(ops::validate(args).ok());
  advance_rows(stream, args);

  EXPECT_EQ(id.content(), ints({1, 72, 82, 4, 5, 70}).content());
  EXPECT_EQ(position.content(), ints({9, 32, 33, 9, -1, 8}).content());
  EXPECT_EQ(drawn_position.content(), ints({33, 34, 9, 5}).content());
  EXPECT_EQ(draft.content(), ints({82, -1, -1, -1}).content());
}

}  // namespace
}  // namespace fathom::cpu
