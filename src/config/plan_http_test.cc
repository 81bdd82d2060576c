#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/plan_text.h"
#include "config/resolve_testing.h"

namespace fathom::config {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Resolved resolved(std::string_view line, std::string_view machine) {
  Result<Resolved> result = resolve_line(line, machine);
  EXPECT_TRUE(result.ok()) << line << ": " << result.status().message();
  return result.ok() ? std::move(result).value() : Resolved{};
}

TEST(HttpPlan, IsOpenAndPlainByDefault) {
  const HttpPlan http = resolved("", "cpu").plan.http;

  EXPECT_EQ(http.api_key, "");
  EXPECT_EQ(http.certificate, "");
  EXPECT_EQ(http.max_body_bytes, 64 << 20);
  EXPECT_TRUE(http.access_log);
}

TEST(HttpPlan, TakesKeysTlsAndLimits) {
  const Resolved r = resolved(
      "--api-key k1 --admin-api-key k2 --ssl-certfile c --ssl-keyfile k --ssl-keyfile-password pw "
      "--ssl-ca-certs a --enable-ssl-refresh --max-body-mib 3 "
      "--uvicorn-access-log-exclude-prefixes /health /metrics",
      "cpu");
  const HttpPlan& http = r.plan.http;

  EXPECT_THAT(r.not_built, IsEmpty());
  EXPECT_EQ(http.api_key, "k1");
  EXPECT_EQ(http.admin_api_key, "k2");
  EXPECT_EQ(http.certificate, "c");
  EXPECT_EQ(http.key, "k");
  EXPECT_EQ(http.key_password, "pw");
  EXPECT_EQ(http.authorities, "a");
  EXPECT_TRUE(http.refresh_tls);
  EXPECT_EQ(http.max_body_bytes, 3 << 20);
  EXPECT_THAT(http.access_log_leaves_out, ElementsAre("/health", "/metrics"));
}

TEST(HttpPlan, TellsNoSecret) {
  const Resolved r = resolved(
      "--api-key secret-1 --admin-api-key secret-2 --ssl-certfile c --ssl-keyfile k "
      "--ssl-keyfile-password secret-3",
      "cpu");

  for (const std::string& text :
       {server_arguments_line(r.flags), to_json(server_arguments(r.flags)),
        to_json(plan_json(r.plan)), plan_table(r.plan)}) {
    EXPECT_THAT(text, Not(HasSubstr("secret-")));
  }
  EXPECT_THAT(server_arguments_line(r.flags), HasSubstr("ssl_keyfile_password='***'"));
}

TEST(HttpPlan, RefusesWhatCannotWork) {
  EXPECT_THAT(refusal("--api-key=", "cpu"), HasSubstr("at least one character"));
  EXPECT_THAT(refusal("--admin-api-key=a\xc3\xa9", "cpu"),
              AllOf(HasSubstr("--admin-api-key ***"), HasSubstr("without blanks")));
  EXPECT_THAT(refusal("--ssl-certfile c", "cpu"), HasSubstr("needs --ssl-keyfile"));
  EXPECT_THAT(refusal("--ssl-keyfile k", "cpu"), HasSubstr("needs --ssl-certfile"));
  EXPECT_THAT(refusal("--ssl-ca-certs a", "cpu"),
              HasSubstr("needs --ssl-certfile and --ssl-keyfile"));
  EXPECT_THAT(refusal("--enable-ssl-refresh", "cpu"), HasSubstr("needs --ssl-certfile"));
  EXPECT_THAT(refusal("--ssl-keyfile-password p", "cpu"), HasSubstr("needs --ssl-certfile"));
  EXPECT_THAT(refusal("--max-body-mib 0", "cpu"), HasSubstr("--max-body-mib 0"));
  EXPECT_THAT(refusal("--log-level-http loud", "cpu"), HasSubstr("--log-level-http loud"));
}

TEST(HttpPlan, MovesOllamasPaths) {
  const auto moved = resolve_line(
      "", "cpu",
      {{"SGLANG_OLLAMA_CHAT_ROUTE", "/ollama/chat"}, {"SGLANG_OLLAMA_SHOW_ROUTE", "/api/show"}});
  ASSERT_TRUE(moved.ok()) << moved.status().message();
  EXPECT_THAT(moved->plan.http.moved_paths,
              ElementsAre(std::pair<std::string, std::string>("/api/chat", "/ollama/chat")));
  EXPECT_THAT(refusal("", "cpu", {{"SGLANG_OLLAMA_TAGS_ROUTE", "tags"}}),
              HasSubstr("SGLANG_OLLAMA_TAGS_ROUTE: was tags, expected a path"));
  EXPECT_THAT(
      refusal("", "cpu", {{"SGLANG_OLLAMA_CHAT_ROUTE", "/a"}, {"SGLANG_OLLAMA_TAGS_ROUTE", "/a"}}),
      HasSubstr("/a is where /api/chat is already"));
}

TEST(HttpPlan, WarnsOfAnAdminKeyAlone) {
  EXPECT_THAT(resolved("--admin-api-key k", "cpu").warnings, Contains(HasSubstr("ask for no key")));
}

TEST(HttpPlan, KeepsTheAccessLogAtItsOwnLevel) {
  EXPECT_FALSE(resolved("--log-level warning", "cpu").plan.http.access_log);
  EXPECT_TRUE(resolved("--log-level warning --log-level-http INFO", "cpu").plan.http.access_log);
  EXPECT_FALSE(resolved("--log-level-http error", "cpu").plan.http.access_log);
  EXPECT_EQ(resolved("--log-level-http error", "cpu").plan.log_level, LogThreshold::kInfo);
}

}  // namespace
}  // namespace fathom::config
