#include "sched/order.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::sched {
namespace {

constexpr std::size_t kAll = 1000;

Claim waiting(wire::RequestId id, std::int32_t priority, std::int32_t max_new_tokens) {
  return {id, false, 0, priority, max_new_tokens, 0};
}
Claim running(wire::RequestId id, std::int64_t admission) {
  return {id, true, admission, 0, 10, 0};
}

std::vector<wire::RequestId> order(const OrderOptions& options,
                                   std::vector<Claim> claims,
                                   std::size_t max_waiting = kAll) {
  put_in_order(options, max_waiting, claims);
  std::vector<wire::RequestId> ids;
  ids.reserve(claims.size());
  for (const Claim& claim : claims) ids.push_back(claim.id);
  return ids;
}

using Ids = std::vector<wire::RequestId>;

TEST(Order, ByAgeOneThatRunsHasNoPrivilege) {
  const std::vector<Claim> claims = {waiting(1, 0, 5), running(2, 9), waiting(3, 7, 50),
                                     running(4, 3)};
  EXPECT_EQ(order({}, claims), (Ids{1, 2, 3, 4}));
  EXPECT_EQ(order({}, claims, 1), (Ids{1, 2, 4}));
  EXPECT_EQ(order({}, {}), Ids{});
}

TEST(Order, TheLongestOutputIsNextAndEqualsKeepTheirAge) {
  OrderOptions options;
  options.policy = Policy::kLongestOutput;
  const std::vector<Claim> claims = {waiting(1, 0, 5), running(2, 9), waiting(3, 7, 50),
                                     running(4, 3), waiting(5, 0, 50)};
  EXPECT_EQ(order(options, claims), (Ids{4, 2, 3, 5, 1}));
  EXPECT_EQ(order(options, claims, 1), (Ids{4, 2, 3}));
  EXPECT_EQ(order(options, claims, 0), (Ids{4, 2}));
}

TEST(Order, TheLongestPrefixIsNext) {
  OrderOptions options;
  options.policy = Policy::kLongestPrefix;
  std::vector<Claim> claims = {waiting(1, 0, 5), running(2, 9), waiting(3, 7, 50),
                               waiting(4, 0, 5)};
  claims[2].cached_tokens = 128;
  claims[3].cached_tokens = 192;
  EXPECT_EQ(order(options, claims), (Ids{2, 4, 3, 1}));
}

TEST(Order, APriorityCountsBeforeThePolicy) {
  OrderOptions options;
  options.by_priority = true;
  const std::vector<Claim> claims = {waiting(1, 0, 5), running(2, 1), waiting(3, 7, 50),
                                     waiting(4, -3, 60), waiting(5, 0, 20)};
  EXPECT_EQ(order(options, claims), (Ids{2, 3, 1, 5, 4}));
  options.policy = Policy::kLongestOutput;
  EXPECT_EQ(order(options, claims), (Ids{2, 3, 5, 1, 4}));
  options.low_priorities_first = true;
  EXPECT_EQ(order(options, claims), (Ids{2, 4, 5, 1, 3}));
}

TEST(Order, ARandomPlaceDependsOnSeedAndIdAlone) {
  OrderOptions options;
  options.policy = Policy::kRandom;
  std::vector<Claim> claims;
  for (wire::RequestId id = 1; id <= 6; ++id) claims.push_back(waiting(id, 0, 0));
  std::set<wire::RequestId> firsts;
  for (options.seed = 0; options.seed < 100; ++options.seed) {
    const Ids all = order(options, claims);
    firsts.insert(all.front());
    EXPECT_EQ(order(options, claims), all);
    std::vector<Claim> fewer = claims;
    std::erase_if(fewer, [&](const Claim& claim) { return claim.id == all[2]; });
    Ids rest = all;
    rest.erase(rest.begin() + 2);
    EXPECT_EQ(order(options, fewer), rest);
  }
  EXPECT_EQ(firsts.size(), 6U);
}

}  // namespace
}  // namespace fathom::sched
