// The program with the seed's drafts and the prefix cache: the answers of a program without, and
// what an operator sees of both.

#include <csignal>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

const std::vector<std::string> kOneDraft{
    "--speculative-algorithm",  "EAGLE", "--speculative-num-steps",        "1",
    "--speculative-eagle-topk", "1",     "--speculative-num-draft-tokens", "2",
    "--speculative-off-switch", "never"};

std::vector<std::string> with(std::vector<std::string> args, const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// A conversation of two turns by token ids, so that the second begins with exactly the first.
struct Turns {
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> second;
  Json first_meta;
  Json second_meta;
};

std::vector<std::int64_t> ids_of(const Json& json) {
  std::vector<std::int64_t> ids;
  for (const Json& id : *json.find("output_ids")->as_array()) ids.push_back(*id.as_int64());
  return ids;
}

std::string ids_text(const std::vector<std::int64_t>& ids) {
  std::string text;
  for (const std::int64_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

Json generate(ServerProcess& server,
              const std::vector<std::int64_t>& ids,
              const std::string& more) {
  const http::Response response =
      server.ask("/generate", "{\"input_ids\":[" + ids_text(ids) +
                                  "],\"sampling_params\":{\"temperature\":0,\"ignore_eos\":true,"
                                  "\"max_new_tokens\":90}" +
                                  more + "}");
  EXPECT_EQ(response.status, 200) << response.body;
  return parse_json(response.body).value();
}

Turns converse(ServerProcess& server, const std::string& more = "") {
  std::vector<std::int64_t> prompt;
  for (std::int64_t i = 0; i < 70; ++i) prompt.push_back(100 + i * 13 % 900);
  Turns turns;
  const Json first = generate(server, prompt, more);
  turns.first = ids_of(first);
  turns.first_meta = *first.find("meta_info");
  prompt.insert(prompt.end(), turns.first.begin(), turns.first.end());
  prompt.push_back(200);
  const Json second = generate(server, prompt, more);
  turns.second = ids_of(second);
  turns.second_meta = *second.find("meta_info");
  return turns;
}

std::int64_t count_of(const Json& meta, std::string_view name) {
  const Json* const value = meta.find(name);
  return value != nullptr ? value->as_int64().value_or(-1) : -1;
}

TEST(Speculation, GivesTheAnswersOfAProgramWithoutItAndWithoutAPrefixCache) {
  ServerProcess plain(FATHOM_PROGRAM, {"--device", "cpu", "--disable-radix-cache"});
  ASSERT_TRUE(plain.wait_until_ready());
  const Turns expected = converse(plain);
  EXPECT_EQ(count_of(expected.second_meta, "cached_tokens"), 0);
  EXPECT_EQ(expected.first_meta.find("spec_verify_ct"), nullptr);

  ServerProcess server(
      FATHOM_PROGRAM,
      with({"--device", "cpu", "--enable-metrics", "--decode-log-interval", "5"}, kOneDraft));
  ASSERT_TRUE(server.wait_until_ready());
  const Turns turns = converse(server);
  EXPECT_EQ(turns.first, expected.first);
  EXPECT_EQ(turns.second, expected.second);
  EXPECT_EQ(count_of(turns.first_meta, "cached_tokens"), 0);
  EXPECT_EQ(count_of(turns.second_meta, "cached_tokens"), 128);  // of 161, whole pages

  const std::int64_t steps = count_of(turns.first_meta, "spec_verify_ct");
  const std::int64_t accepted = count_of(turns.first_meta, "spec_accept_token_num");
  const std::int64_t drafts = count_of(turns.first_meta, "spec_draft_token_num");
  EXPECT_EQ(1 + steps + accepted, 90);  // the first token is the prompt's
  EXPECT_GT(accepted, 0);
  EXPECT_GE(drafts, accepted);
  EXPECT_LE(drafts, steps);
  EXPECT_GE(drafts, steps - 2);  // a last token alone has no draft to verify
  const auto real = [&turns](std::string_view name) {
    return turns.first_meta.find(name)->as_double().value_or(-1);
  };
  EXPECT_DOUBLE_EQ(real("spec_accept_rate"),
                   static_cast<double>(accepted) / static_cast<double>(drafts));
  EXPECT_DOUBLE_EQ(real("spec_accept_length"), 90 / static_cast<double>(steps));

  EXPECT_THAT(server.wait_for_line("accept len: "),
              ContainsRegex("token usage: [0-9.]+, accept len: [12]\\.[0-9]+, accept rate: "
                            "[01]\\.[0-9]+, cuda graph: False"));
  const std::string metrics = server.ask("/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("sglang:spec_accept_length{"));
  EXPECT_THAT(metrics, HasSubstr("sglang:cache_hit_rate{"));
  EXPECT_THAT(metrics, ContainsRegex("sglang:cached_tokens_total\\{[^}]*\\} 128"));

  // Elsewhere nothing of it is found, and after a flush nowhere.
  const std::string other = R"(,"cache_salt":"tenant")";
  EXPECT_EQ(count_of(converse(server, other).first_meta, "cached_tokens"), 0);
  EXPECT_EQ(count_of(converse(server).first_meta, "cached_tokens"), 64);
  EXPECT_EQ(server.ask("/flush_cache").status, 200);
  EXPECT_EQ(count_of(converse(server).first_meta, "cached_tokens"), 0);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(Speculation, ChainsGiveThem) {
  ServerProcess plain(FATHOM_PROGRAM, {"--device", "cpu"});
  ServerProcess server(FATHOM_PROGRAM, {"--device", "cpu", "--speculative-algorithm", "NEXTN"});
  ASSERT_TRUE(plain.wait_until_ready());
  ASSERT_TRUE(server.wait_until_ready());
  const Turns expected = converse(plain);
  const Turns turns = converse(server);
  EXPECT_EQ(turns.first, expected.first);
  EXPECT_EQ(turns.second, expected.second);
  const std::int64_t steps = count_of(turns.first_meta, "spec_verify_ct");
  EXPECT_GT(count_of(turns.first_meta, "spec_draft_token_num"), steps);  // 3 of most
}

TEST(Speculation, RefusesWhatItIsNot) {
  struct Refusal {
    std::vector<std::string> args;
    const char* why;
  };
  for (const Refusal& each :
       {Refusal{{"--speculative-algorithm", "EAGLE3"}, "--speculative-algorithm EAGLE3"},
        Refusal{{"--speculative-algorithm", "EAGLE", "--speculative-num-steps", "6",
                 "--speculative-eagle-topk", "1"},
                "--speculative-num-steps 6: expected 1 to 5"},
        Refusal{{"--speculative-algorithm", "EAGLE", "--speculative-num-steps", "1"},
                "--speculative-eagle-topk is missing"},
        Refusal{{"--radix-eviction-policy", "slru"}, "--radix-eviction-policy slru"}}) {
    ServerProcess server(FATHOM_PROGRAM, with({"--device", "cpu"}, each.args));
    EXPECT_EQ(server.wait_exit(), 1) << each.why;
    EXPECT_THAT(server.log(), HasSubstr(each.why));
  }
}

}  // namespace
}  // namespace fathom::system_test
