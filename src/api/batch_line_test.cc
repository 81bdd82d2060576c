#include "api/batch_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace fathom::api {
namespace {

using testing::HasSubstr;

std::string refusal(std::string_view text) {
  std::string id;
  const Result<BatchLine> line = parse_batch_line(text, id);
  return line.ok() ? "" : line.status().message();
}

TEST(BatchLine, HasNameUrlAndBody) {
  std::string id;
  const Result<BatchLine> line = parse_batch_line(
      R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}})", id);
  ASSERT_TRUE(line.ok()) << line.status().message();
  EXPECT_EQ(line->custom_id, "a");
  EXPECT_EQ(id, "a");
  EXPECT_EQ(line->url, "/v1/completions");
  EXPECT_EQ(line->body, R"({"prompt":"x"})");
}

TEST(BatchLine, WhatIsWrongIsNamed) {
  EXPECT_THAT(refusal("[1]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"url":"/generate","body":{}})"), HasSubstr("custom_id: is missing"));
  EXPECT_THAT(refusal(R"({"custom_id":3,"url":"/generate","body":{}})"), HasSubstr("custom_id"));
  EXPECT_THAT(refusal(R"({"custom_id":"a","body":{}})"), HasSubstr("url: is missing"));
  EXPECT_THAT(refusal(R"({"custom_id":"a","url":"/health","body":{}})"),
              HasSubstr("expected one of /v1/chat/completions"));
  EXPECT_THAT(refusal(R"({"custom_id":"a","url":"/generate"})"), HasSubstr("body: is missing"));
  EXPECT_THAT(refusal(R"({"custom_id":"a","url":"/generate","body":[]})"), HasSubstr("body"));
  EXPECT_THAT(refusal(R"({"custom_id":"a","method":"GET","url":"/generate","body":{}})"),
              HasSubstr("method"));
  EXPECT_THAT(refusal(R"({"custom_id":"a","url":"/generate","body":{"stream":true}})"),
              HasSubstr("body.stream"));
  EXPECT_EQ(refusal(R"({"custom_id":"a","url":"/generate","body":{"stream":false}})"), "");
}

TEST(BatchLine, AWrongLineKeepsItsName) {
  std::string id;
  EXPECT_FALSE(parse_batch_line(R"({"custom_id":"a","url":"/nowhere","body":{}})", id).ok());
  EXPECT_EQ(id, "a");
  EXPECT_FALSE(parse_batch_line("nonsense", id).ok());
  EXPECT_EQ(id, "");
}

TEST(BatchResult, AnAnswerIsOneLineThatReadsBack) {
  const std::string line =
      batch_answer_line("r1", "a\n\"b", 200, "x", "{\n \"usage\": {\"completion_tokens\": 7}\n}");
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const Result<BatchResult> result = parse_batch_result(line);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->custom_id, "a\n\"b");
  EXPECT_TRUE(result->succeeded);
  EXPECT_EQ(result->completion_tokens, 7);
  EXPECT_FALSE(parse_batch_result(batch_answer_line("r", "a", 400, "", "{}"))->succeeded);
}

TEST(BatchResult, ABodyThatIsNoJsonIsText) {
  const Result<Json> line = parse_json(batch_answer_line("r", "a", 502, "", "<html>"));
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(*line->find("response")->find("body")->as_string(), "<html>");
}

TEST(BatchResult, ALineWithoutNameHasItsNumber) {
  const Result<BatchResult> result =
      parse_batch_result(batch_error_line("r", "", 12, "invalid_line", "no"));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->custom_id, "");
  EXPECT_EQ(result->line, 12);
  EXPECT_FALSE(result->succeeded);
  EXPECT_FALSE(parse_batch_result(R"({"custom_id":"a"})").ok());
  EXPECT_FALSE(parse_batch_result(R"({"custom_id":null,"error":{}})").ok());
}

}  // namespace
}  // namespace fathom::api
