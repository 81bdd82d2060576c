#include "api/multipart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::api {
namespace {

using testing::HasSubstr;

constexpr std::string_view kType = "multipart/form-data; boundary=\"xy\"";

TEST(Multipart, HasPartsWithNamesAndContents) {
  const std::string body =
      "--xy\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
      "--xy\r\ncontent-disposition: form-data; filename=\"a;\\\"b.jsonl\"; name=file\r\n"
      "Content-Type: application/jsonl\r\n\r\n{\"a\":\r\n1}\r\n\r\n--xy--\r\n";
  const auto parts = parse_form(kType, body);
  ASSERT_TRUE(parts.ok()) << parts.status().message();
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_EQ((*parts)[0].name, "purpose");
  EXPECT_EQ((*parts)[0].filename, "");
  EXPECT_EQ((*parts)[0].content, "batch");
  EXPECT_EQ((*parts)[1].name, "file");
  EXPECT_EQ((*parts)[1].filename, "a;\"b.jsonl");
  EXPECT_EQ((*parts)[1].content, "{\"a\":\r\n1}\r\n");
}

TEST(Multipart, WhatIsWrongIsSaid) {
  const auto refusal = [](std::string_view type, std::string_view body) {
    const auto parts = parse_form(type, body);
    return parts.ok() ? "" : parts.status().message();
  };
  EXPECT_THAT(refusal("application/json", ""), HasSubstr("expected multipart/form-data"));
  EXPECT_THAT(refusal("multipart/form-data", ""), HasSubstr("boundary"));
  EXPECT_THAT(refusal(kType, "{}"), HasSubstr("begin"));
  EXPECT_THAT(refusal(kType, "--xyz"), HasSubstr("line of its own"));
  EXPECT_THAT(refusal(kType, "--xy\r\nA: b\r\n\r\n"), HasSubstr("no name"));
  EXPECT_THAT(refusal(kType, "--xy\r\nA b\r\n\r\n"), HasSubstr("no ':'"));
  EXPECT_THAT(refusal(kType, "--xy\r\nContent-Disposition: form-data; name=a\r\n\r\nabc"),
              HasSubstr("no end"));
  std::string many;
  for (int i = 0; i < 65; ++i) {
    many += "--xy\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
  }
  EXPECT_THAT(refusal(kType, many + "--xy--"), HasSubstr("more than 64"));
}

// Whatever is cut off a good body, nothing is read past its end.
TEST(Multipart, EveryBeginningIsRefusedOrWhole) {
  const std::string body =
      "--xy\r\nContent-Disposition: form-data; name=\"f\"; filename=\"g\"\r\n\r\nabc\r\n--xy--";
  for (std::size_t size = 0; size < body.size(); ++size) {
    const std::string cut(body, 0, size);
    EXPECT_FALSE(parse_form(kType, cut).ok()) << size;
  }
  EXPECT_TRUE(parse_form(kType, body).ok());
}

}  // namespace
}  // namespace fathom::api
