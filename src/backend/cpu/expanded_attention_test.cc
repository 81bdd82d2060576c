#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/attention_testing.h"
#include "backend/cpu/guarded_copy.h"
#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

constexpr float kScale = 0.135F;

struct Sizes {
  std::int64_t heads;
  std::int64_t n;
  std::int64_t r;
  std::int64_t v;
};

// Keys and values of `positions` positions; the memory of each ends where reading on is fatal.
struct Keys {
  Keys(DType dtype, Sizes sizes, std::int64_t positions, std::mt19937& random)
      : size(sizes),
        numbers(dtype, {positions, sizes.heads, sizes.n + sizes.v}),
        rope_numbers(dtype, {positions, sizes.r}) {
    numbers.fill_wide(random);
    rope_numbers.fill_wide(random);
    store();
  }
  void store() {
    stored = std::make_unique<GuardedCopy>(numbers.content());
    stored_rope = std::make_unique<GuardedCopy>(rope_numbers.content());
  }
  TensorView both() {
    TensorView view = numbers.view();
    view.data = stored->data();
    return view;
  }
  TensorView rope() {
    TensorView view = rope_numbers.view();
    view.data = stored_rope->data();
    return view;
  }
  // Spoils one position for every head.
  void poison(std::int64_t position) {
    const std::int64_t width = size.heads * (size.n + size.v);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t i = 0; i < width; ++i) numbers.set(position * width + i, nan);
    for (std::int64_t i = 0; i < size.r; ++i) rope_numbers.set(position * size.r + i, nan);
  }
  Row key(std::int64_t position, std::int64_t head) const {
    Row row;
    const std::int64_t at = (position * size.heads + head) * (size.n + size.v);
    for (std::int64_t i = 0; i < size.n; ++i) row.push_back(numbers.get(at + i));
    for (std::int64_t i = 0; i < size.r; ++i) {
      row.push_back(rope_numbers.get(position * size.r + i));
    }
    return row;
  }
  Row value(std::int64_t position, std::int64_t head) const {
    Row row;
    const std::int64_t at = (position * size.heads + head) * (size.n + size.v) + size.n;
    for (std::int64_t i = 0; i < size.v; ++i) row.push_back(numbers.get(at + i));
    return row;
  }

  Sizes size;
  HostTensor numbers;
  HostTensor rope_numbers;
  std::unique_ptr<GuardedCopy> stored;
  std::unique_ptr<GuardedCopy> stored_rope;
};

using Lists = std::vector<std::vector<std::int32_t>>;

// Queries with a list of positions each.
struct Queries {
  Queries(DType dtype, Sizes sizes, Lists wanted, std::int64_t k, std::mt19937& random)
      : lists(std::move(wanted)),
        size(sizes),
        query(dtype, {tokens(), sizes.heads, sizes.n + sizes.r}, /*margin=*/1),
        selected(DType::kI32, {tokens(), k}),
        count(DType::kI32, {tokens()}),
        y(dtype, {tokens(), sizes.heads, sizes.v}, /*margin=*/3) {
    query.fill_wide(random);
    for (std::int64_t t = 0; t < tokens(); ++t) {
      const auto& list = lists[static_cast<std::size_t>(t)];
      count.set_int(t, static_cast<std::int32_t>(list.size()));
      for (std::size_t i = 0; i < list.size(); ++i) {
        selected.set_int(t * k + static_cast<std::int64_t>(i), list[i]);
      }
    }
  }
  std::int64_t tokens() const { return static_cast<std::int64_t>(lists.size()); }
  // The rows [first, first + rows).
  ops::ExpandedAttentionArgs args(Keys& keys, std::int64_t first, std::int64_t rows) {
    ops::ExpandedAttentionArgs made;
    made.query = query.view().rows(first, rows);
    made.key = keys.both().columns(0, size.n);
    made.key_rope = keys.rope();
    made.value = keys.both().columns(size.n, size.v);
    made.selected = selected.view().rows(first, rows);
    made.count = count.view().rows(first, rows);
    made.y = y.view().rows(first, rows);
    made.scale = kScale;
    EXPECT_EQ(validate(made).message(), "");
    return made;
  }
  void expect_the_definition(const Keys& keys, DType dtype) const {
    for (std::int64_t row = 0; row < tokens() * size.heads; ++row) {
      Row q;
      for (std::int64_t i = 0; i < size.n + size.r; ++i) {
        q.push_back(query.get(row * (size.n + size.r) + i));
      }
      std::vector<Row> key;
      std::vector<Row> value;
      for (const std::int32_t s : lists[static_cast<std::size_t>(row / size.heads)]) {
        key.push_back(keys.key(s, row % size.heads));
        value.push_back(keys.value(s, row % size.heads));
      }
      const Row want = attend_by_definition(q, key, value, kScale, dtype);
      for (std::int64_t i = 0; i < size.v; ++i) {
        ASSERT_EQ(bits_of(y.get(row * size.v + i)), bits_of(want[static_cast<std::size_t>(i)]))
            << "row " << row << " number " << i;
      }
    }
    EXPECT_TRUE(y.margins_are_poison());
  }

  Lists lists;
  Sizes size;
  HostTensor query;
  HostTensor selected;
  HostTensor count;
  HostTensor y;
};

// Positions first, first + 1, … of a prompt: each sees all up to its own.
Lists dense_lists(std::int32_t first, std::int32_t tokens) {
  Lists lists;
  for (std::int32_t t = first; t < first + tokens; ++t) {
    auto& list = lists.emplace_back();
    for (std::int32_t s = 0; s <= t; ++s) list.push_back(s);
  }
  return lists;
}

// `count` of the positions below `positions`, ascending.
std::vector<std::int32_t> some_of(std::int32_t positions,
                                  std::int64_t count,
                                  std::mt19937& random) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(positions));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
  std::vector<std::int32_t> list;
  std::sample(all.begin(), all.end(), std::back_inserter(list), count, random);
  return list;
}

TEST(ExpandedAttention, HasTheBitsOfItsDefinitionOverDensePrompts) {
  on_every_instruction_set([] {
    std::mt19937 random(1);
    CpuStream stream(2);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const Sizes sizes : {Sizes{2, 128, 64, 128}, Sizes{3, 5, 2, 7}, Sizes{1, 16, 10, 33}}) {
        // First positions and rows around the ends of blocks and of a task's tokens.
        for (const auto& [first, tokens] :
             {std::pair(0, 1), std::pair(0, 66), std::pair(62, 3), std::pair(127, 13)}) {
          SCOPED_TRACE(std::to_string(first) + " + " + std::to_string(tokens));
          Keys keys(dtype, sizes, first + tokens, random);
          Queries queries(dtype, sizes, dense_lists(first, tokens), 140, random);

          expanded_attention(stream, queries.args(keys, 0, tokens));

          queries.expect_the_definition(keys, dtype);
        }
      }
    }
  });
}

TEST(ExpandedAttention, HasTheBitsOfItsDefinitionOverSelectedPositions) {
  on_every_instruction_set([] {
    constexpr Sizes kSizes{2, 24, 8, 20};
    std::mt19937 random(2);
    CpuStream stream(2);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      Lists lists;
      for (const std::int64_t size : {1, 63, 64, 65, 2, 130, 130, 128, 64, 1, 7, 64, 65, 66}) {
        lists.push_back(some_of(200, size, random));
      }
      lists.push_back(lists.back());  // neighbours with one list
      lists.push_back(lists.back());
      lists.back().push_back(200);  // and one that goes on
      const auto tokens = static_cast<std::int64_t>(lists.size());
      Keys keys(dtype, kSizes, 201, random);
      Queries queries(dtype, kSizes, lists, 130, random);

      expanded_attention(stream, queries.args(keys, 0, tokens));

      queries.expect_the_definition(keys, dtype);
    }
  });
}

TEST(ExpandedAttention, BitsDependOnNeitherThreadsNorNeighbours) {
  constexpr Sizes kSizes{4, 32, 16, 32};
  std::mt19937 random(3);
  Keys keys(DType::kBF16, kSizes, 190, random);
  Lists lists = dense_lists(60, 40);
  for (int i = 0; i < 10; ++i) lists.push_back(some_of(190, 90, random));
  Queries queries(DType::kBF16, kSizes, lists, 128, random);
  CpuStream one(1);
  CpuStream three(3);

  expanded_attention(one, queries.args(keys, 0, queries.tokens()));
  const auto want = queries.y.content();

  expanded_attention(three, queries.args(keys, 0, queries.tokens()));
  EXPECT_EQ(queries.y.content(), want);
  for (std::int64_t t = 0; t < queries.tokens(); ++t) {
    expanded_attention(three, queries.args(keys, t, 1));
  }
  EXPECT_EQ(queries.y.content(), want);
}

// Neighbours share blocks of keys: what one of them sees must not reach the other.
TEST(ExpandedAttention, APoisonedPositionSpoilsOnlyTheRowsThatSelectIt) {
  constexpr Sizes kSizes{2, 32, 16, 32};
  std::mt19937 random(4);
  CpuStream stream(1);
  Keys keys(DType::kF32, kSizes, 80, random);
  keys.poison(68);  // seen by the last two rows
  keys.poison(79);  // by none
  keys.store();
  Queries queries(DType::kF32, kSizes, dense_lists(60, 10), 80, random);

  expanded_attention(stream, queries.args(keys, 0, 10));

  const std::int64_t width = kSizes.heads * kSizes.v;
  for (std::int64_t i = 0; i < 10 * width; ++i) {
    ASSERT_EQ(std::isnan(queries.y.get(i)), i >= 8 * width) << "row " << i / width;
  }
}

TEST(ExpandedAttention, NoRowsAreNoWork) {
  constexpr Sizes kSizes{2, 8, 4, 8};
  std::mt19937 random(5);
  CpuStream stream(1);
  Keys keys(DType::kF32, kSizes, 3, random);
  Queries queries(DType::kF32, kSizes, dense_lists(0, 3), 4, random);
  const auto before = queries.y.content();

  expanded_attention(stream, queries.args(keys, 1, 0));

  EXPECT_EQ(queries.y.content(), before);
}

TEST(ExpandedAttention, StopsAtAPositionPastTheKeys) {
  constexpr Sizes kSizes{1, 8, 4, 8};
  std::mt19937 random(6);
  CpuStream stream(1);
  Keys keys(DType::kF32, kSizes, 3, random);
  Queries queries(DType::kF32, kSizes, dense_lists(3, 1), 4, random);

  EXPECT_DEATH(expanded_attention(stream, queries.args(keys, 0, 1)), "key.shape");
}

}  // namespace
}  // namespace fathom::cpu
