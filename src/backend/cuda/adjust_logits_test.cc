// The penalties, bans, masks and biases on rows of logits on the GPU against the CPU, bit by bit.

#include <algorithm>
#include <limits>
#include <numeric>

#include "backend/cuda/twin_testing.h"

namespace fathom::cuda {
namespace {

class CudaAdjustLogits : public TwinTest {
 protected:
  std::int32_t below(std::int64_t bound) {
    return static_cast<std::int32_t>(random_() % static_cast<std::uint64_t>(bound));
  }
  Twin numbers(const std::vector<std::int32_t>& values) {
    return integers({static_cast<std::int64_t>(values.size())}, values);
  }
  Twin floats(std::vector<std::int64_t> shape, const std::vector<float>& values) {
    Twin twin = poisoned(DType::kF32, std::move(shape));
    std::copy(values.begin(), values.end(), twin.as<float>().begin());
    upload(twin);
    return twin;
  }

  // Some rows of `rows`, in random order, with up to `most` entries each.
  void compare(std::int64_t rows, std::int64_t vocab, std::int64_t most, bool masked) {
    SCOPED_TRACE(testing::Message() << rows << " rows of " << vocab << ", up to " << most
                                    << (masked ? " entries, masks" : " entries"));
    Twin x = normal(DType::kF32, {rows, vocab}, 5);
    std::span<float> logits = x.as<float>();
    logits[0] = std::numeric_limits<float>::infinity();
    logits[logits.size() / 2] = -std::numeric_limits<float>::infinity();
    upload(x);
    std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    order.resize((order.size() + 1) / 2);
    std::vector<float> settings;
    std::vector<std::int32_t> first = {0};
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> counts;
    std::vector<float> biases;
    std::vector<std::int32_t> mask_rows;
    std::vector<std::int32_t> ids(static_cast<std::size_t>(vocab));
    std::iota(ids.begin(), ids.end(), 0);
    std::uniform_real_distribution<float> penalty(-2, 2);
    for (std::size_t i = 0; i < order.size(); ++i) {
      settings.insert(settings.end(), {penalty(random_), penalty(random_),
                                       below(3) == 0 ? 1.0F : 1.001F + penalty(random_) / 2});
      std::shuffle(ids.begin(), ids.end(), random_);
      const std::int32_t count = below(std::min(most, vocab) + 1);
      for (std::int32_t j = 0; j < count; ++j) {
        tokens.push_back(ids[static_cast<std::size_t>(j)]);
        counts.push_back(below(8) - 1);
        biases.push_back(below(2) == 0 ? 0.0F : 20 * penalty(random_));
      }
      first.push_back(static_cast<std::int32_t>(tokens.size()));
      mask_rows.push_back(below(4) == 0 ? -1 : below(3));
    }
    const auto adjusted = static_cast<std::int64_t>(order.size());
    Twin row = numbers(order);
    Twin penalties = floats({adjusted, 3}, settings);
    Twin first_entry = numbers(first);
    Twin token = numbers(tokens);
    Twin count = numbers(counts);
    Twin bias = floats({static_cast<std::int64_t>(biases.size())}, biases);
    Twin mask_row = numbers(mask_rows);
    Twin mask = poisoned(DType::kI32, {3, (vocab + 31) / 32});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      ops::AdjustLogitsArgs args{view(x),           view(row),   view(penalties),
                                 view(first_entry), view(token), view(count),
                                 view(bias),        {},          {}};
      if (masked) {
        args.mask_row = view(mask_row);
        args.mask = view(mask);
      }
      ops.adjust_logits(s, args);
    });
    expect_equal(x, "adjust_logits");
  }
};

TEST_F(CudaAdjustLogits, GivesTheBitsOfTheCpu) {
  for (const std::int64_t vocab : {1, 31, 33, 512, 4096, 4097, 129280}) {
    for (const std::int64_t most : {0, 1, 300, 5000}) {
      for (const bool masked : {false, true}) {
        compare(vocab < 100'000 ? 20 : 3, vocab, most, masked);
      }
    }
  }
}

TEST_F(CudaAdjustLogits, TakesRowsOfAWiderMatrix) {
  Twin x = normal(DType::kF32, {4, 300}, 5);
  Twin row = numbers({3, 1});
  Twin penalties = normal(DType::kF32, {2, 5});
  std::fill(penalties.as<float>().begin(), penalties.as<float>().end(), 0.75F);
  upload(penalties);
  Twin first_entry = numbers({0, 2, 3});
  Twin token = numbers({0, 199, 7});
  Twin count = numbers({1, 2, -1});
  Twin bias = floats({3}, {0, -3, 100});
  Twin mask_row = numbers({-1, 0});
  Twin mask = poisoned(DType::kI32, {1, 9});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.adjust_logits(
        s, {view(x).columns(40, 200), view(row), view(penalties).columns(1, 3), view(first_entry),
            view(token), view(count), view(bias), view(mask_row), view(mask).columns(1, 7)});
  });
  expect_equal(x, "adjust_logits");
}

TEST_F(CudaAdjustLogits, NoRowsAreNoWork) {
  Twin x = normal(DType::kF32, {2, 50});
  Twin none = numbers({});
  Twin penalties = poisoned(DType::kF32, {0, 3});
  Twin first_entry = numbers({0});
  Twin bias = poisoned(DType::kF32, {0});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.adjust_logits(s, {view(x),
                          view(none),
                          view(penalties),
                          view(first_entry),
                          view(none),
                          view(none),
                          view(bias),
                          {},
                          {}});
  });
  expect_equal(x, "adjust_logits");
}

}  // namespace
}  // namespace fathom::cuda
