#include "api/access.h"

#include <string>

#include <gtest/gtest.h>

namespace fathom::api {
namespace {

// The status of the refusal; 0 for none.
int refused(const AccessKeys& keys,
            const std::string& path,
            const std::string& header = "",
            const std::string& value = "",
            const std::string& method = "POST") {
  http::Request request;
  request.method = method;
  request.path = path;
  if (!header.empty()) request.headers.add(header, value);
  const auto refusal = refuse_access(keys, request);
  return refusal.has_value() ? refusal->status : 0;
}

TEST(Access, IsOpenWithoutKeys) {
  for (const char* const path : {"/generate", "/flush_cache", "/health", "/nowhere"}) {
    EXPECT_EQ(refused({}, path), 0) << path;
  }
}

TEST(Access, AsksForTheApiKeyWithTheSameWordsEverywhere) {
  const AccessKeys keys{.api_key = "key", .admin_api_key = ""};
  for (const char* const path :
       {"/generate", "/v1/chat/completions", "/v1/models", "/flush_cache", "/server_info",
        "/nowhere", "/", "/v1/messages", "//health", "/v1/health"}) {
    EXPECT_EQ(refused(keys, path), 401) << path;
    EXPECT_EQ(refused(keys, path, "Authorization", "Bearer key"), 0) << path;
    EXPECT_EQ(refused(keys, path, "x-api-key", "key"), 0) << path;
  }
  http::Request request;
  request.path = "/generate";
  const auto refusal = refuse_access(keys, request);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->body, R"({"error":"Unauthorized"})");
}

TEST(Access, TakesTheWholeKeyAndNothingElse) {
  const AccessKeys keys{.api_key = "key", .admin_api_key = ""};
  for (const char* const wrong :
       {"", "key", "Bearer", "Bearer ", "Bearer ke", "Bearer keykey", "Bearer kex", "Bearer  key",
        "Bearer key ", "Basic key", "Bearer KEY"}) {
    EXPECT_EQ(refused(keys, "/generate", "Authorization", wrong), 401) << "'" << wrong << "'";
  }
  EXPECT_EQ(refused(keys, "/generate", "Authorization", "bearer key"), 0);
  EXPECT_EQ(refused(keys, "/generate", "x-api-key", "Bearer key"), 401);
  EXPECT_EQ(refused(keys, "/generate", "x-api-key", ""), 401);
  const AccessKeys periodic{.api_key = "kk", .admin_api_key = ""};
  EXPECT_EQ(refused(periodic, "/generate", "x-api-key", "kkkk"), 401);
}

TEST(Access, LeavesProbesMetricsAndPreflightOpen) {
  const AccessKeys keys{.api_key = "key", .admin_api_key = "admin"};
  for (const char* const path :
       {"/health", "/health_generate", "/metrics", "/metrics/", "/ready"}) {
    EXPECT_EQ(refused(keys, path), 0) << path;
  }
  EXPECT_EQ(refused(keys, "/generate", "", "", "OPTIONS"), 0);
  EXPECT_EQ(refused(keys, "/flush_cache", "", "", "OPTIONS"), 0);
}

TEST(Access, TheAdminKeyOpensManagementAlone) {
  const AccessKeys keys{.api_key = "key", .admin_api_key = "admin"};
  for (const char* const path : {"/flush_cache", "/abort_request", "/configure_logging",
                                 "/start_profile", "/set_internal_state", "/pause_generation",
                                 "/update_weights_from_disk", "/hicache/storage-backend"}) {
    EXPECT_EQ(refused(keys, path), 401) << path;
    EXPECT_EQ(refused(keys, path, "Authorization", "Bearer wrong"), 401) << path;
    EXPECT_EQ(refused(keys, path, "Authorization", "Bearer key"), 403) << path;
    EXPECT_EQ(refused(keys, path, "Authorization", "Bearer admin"), 0) << path;
  }
  EXPECT_EQ(refused(keys, "/generate", "Authorization", "Bearer admin"), 401);
  EXPECT_EQ(refused(keys, "/generate", "Authorization", "Bearer key"), 0);
}

TEST(Access, AnAdminKeyAloneLeavesTheRestOpen) {
  const AccessKeys keys{.api_key = "", .admin_api_key = "admin"};

  EXPECT_EQ(refused(keys, "/generate"), 0);
  EXPECT_EQ(refused(keys, "/flush_cache"), 401);
  EXPECT_EQ(refused(keys, "/flush_cache", "x-api-key", "admin"), 0);
}

}  // namespace
}  // namespace fathom::api
