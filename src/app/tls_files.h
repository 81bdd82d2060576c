#pragma once

#include <cstdint>
#include <string>

#include "config/instance_plan.h"
#include "http/server.h"
#include "http/tls.h"

namespace fathom::app {

http::TlsFiles tls_files(const config::HttpPlan& plan);

// Looks every second whether the files of a server's certificate and key are others, and serves new
// connections with what is in them then. Files that do not fit together (one is written before the
// other) change nothing; the log says what is wrong.
//
// Threads: start() any, the rest happens on the server's thread. Must outlive the server's threads.
class TlsRefresh {
 public:
  // `files` are those that the server was made with.
  TlsRefresh(http::Server& server, http::TlsFiles files);
  void start();

 private:
  // What a file's replacement or writing changes.
  struct Stamp {
    std::int64_t modified_ns = 0;
    std::int64_t bytes = -1;
    std::uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct Stamps {
    Stamp certificate;
    Stamp key;
    bool operator==(const Stamps&) const = default;
  };
  static Stamp stamp(const std::string& path);
  Stamps stamps() const { return {stamp(files_.certificate), stamp(files_.key)}; }
  void look();

  http::Server& server_;
  const http::TlsFiles files_;
  Stamps seen_;
};

}  // namespace fathom::app
