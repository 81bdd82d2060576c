#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_testing.h"

namespace fathom::checkpoint {
namespace {

using Kind = TensorSpec::Kind;

constexpr std::int64_t kRows = 3000;  // several chunks of the parallel scan
constexpr std::int64_t kColumns = 1000;

class CheckpointValues : public testing::Test {
 protected:
  // "": nothing to object to; else the message without the file's name.
  template <class Check>
  std::string outcome(const std::vector<TestTensor>& stored, const Check& check) {
    folder_.write_tensors("model.safetensors", stored);
    const auto opened = Checkpoint::open(
        folder_.path(),
        {{"codes", {kRows, kColumns}, Kind::kMatrix, false}, {"norm", {5}, Kind::kVector, false}});
    if (!opened.ok()) return opened.status().message();
    const Status status = check(**opened);
    const std::string file = folder_.file("model.safetensors") + ": ";
    return status.ok() ? "" : status.message().substr(file.size());
  }

  std::string verify(const std::vector<TestTensor>& stored) {
    ThreadPool pool(3);
    return outcome(stored, [&](const Checkpoint& opened) { return opened.verify_values(pool); });
  }

  std::vector<TestTensor> good_ = {
      filled("codes", DType::kF8E4M3, {kRows, kColumns}, 0xFE),  // -448: one below NaN
      floats("codes_scale_inv", {24, 8}, std::vector<float>(192, 0.5F)),
      filled("norm", DType::kBF16, {5}, 0x3F)};
  TestFolder folder_;
};

TEST_F(CheckpointValues, AcceptsNumbers) { EXPECT_EQ(verify(good_), ""); }

TEST_F(CheckpointValues, FindsANaNCodeAtEveryPlaceOfAWord) {
  for (const std::size_t at : {0U, 1U, 7U, 8U, 1'048'575U, 1'048'576U, 2'999'999U}) {
    for (const unsigned code : {0x7FU, 0xFFU}) {
      std::vector<TestTensor> bad = good_;
      bad[0].data[at] = static_cast<std::byte>(code);

      EXPECT_EQ(verify(bad),
                "tensor 'codes': element " + std::to_string(at) + " is not a finite number");
    }
  }
}

TEST_F(CheckpointValues, ReportsTheFirstOfManyWhateverTheThreads) {
  std::vector<TestTensor> bad = good_;
  for (std::size_t at = 1'500'000; at < bad[0].data.size(); at += 999) {
    bad[0].data[at] = std::byte{0x7F};
  }

  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(verify(bad), "tensor 'codes': element 1500000 is not a finite number");
  }
}

TEST_F(CheckpointValues, RefusesOtherValuesThatAreNotFinite) {
  std::vector<TestTensor> bad = good_;
  bad[2] = filled("norm", DType::kBF16, {5}, 0xFF);
  EXPECT_EQ(verify(bad), "tensor 'norm': element 0 is not a finite number");
  bad[2] = filled("norm", DType::kF16, {5}, 0x7C);
  EXPECT_EQ(verify(bad), "tensor 'norm': element 0 is not a finite number");
  bad[2] = floats("norm", {5}, {1, 2, 3, std::numeric_limits<float>::infinity(), 5});
  EXPECT_EQ(verify(bad), "tensor 'norm': element 3 is not a finite number");
}

TEST_F(CheckpointValues, ChecksScalesAlone) {
  const auto check = [&](float scale) {
    std::vector<TestTensor> stored = good_;
    std::memcpy(stored[1].data.data() + 36, &scale, 4);
    EXPECT_EQ(verify(stored), outcome(stored, [](const Checkpoint& opened) {
                return opened.check_scales("codes");
              }));
    return verify(stored);
  };
  const std::string refused =
      "tensor 'codes_scale_inv': element 9 is not a finite number, 0 or more";
  EXPECT_EQ(check(0.0F), "");
  EXPECT_EQ(check(1e-38F), "");
  EXPECT_EQ(check(-1.0F), refused);
  EXPECT_EQ(check(std::nanf("")), refused);
  EXPECT_EQ(check(std::numeric_limits<float>::infinity()), refused);
  EXPECT_EQ(outcome(good_, [](const Checkpoint& opened) { return opened.check_scales("norm"); }),
            "");
}

}  // namespace
}  // namespace fathom::checkpoint
