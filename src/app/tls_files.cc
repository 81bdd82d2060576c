#include "app/tls_files.h"

#include <chrono>
#include <sys/stat.h>
#include <utility>

#include "base/log.h"

namespace fathom::app {

namespace {

constexpr std::chrono::milliseconds kLookEvery{1000};

}  // namespace

http::TlsFiles tls_files(const config::HttpPlan& plan) {
  return {plan.certificate, plan.key, plan.key_password};
}

TlsRefresh::TlsRefresh(http::Server& server, http::TlsFiles files)
    : server_(server), files_(std::move(files)), seen_(stamps()) {}

TlsRefresh::Stamp TlsRefresh::stamp(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return {};
  return {found.st_mtim.tv_sec * 1'000'000'000 + found.st_mtim.tv_nsec, found.st_size,
          found.st_ino};
}

void TlsRefresh::start() {
  server_.post_after(kLookEvery, [this] { look(); });
}

void TlsRefresh::look() {
  const Stamps now = stamps();
  if (now != seen_) {
    seen_ = now;
    auto tls = http::TlsContext::for_server(files_);
    if (tls.ok()) {
      server_.renew_tls(std::move(tls).value());
      log_info("TLS: new connections are served with the changed certificate");
    } else {
      log_warning("TLS: the changed files are not used: " + tls.status().message());
    }
  }
  start();
}

}  // namespace fathom::app
