#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "http/tls.h"

namespace fathom::http {

// An authority made for one test, and what it issues, in a folder that goes with the object.
//
// Failing to make one ends the test program.
class TestAuthority {
 public:
  TestAuthority();
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  // The file of its own certificate.
  std::string certificate() const { return path("authority.pem"); }

  struct Wish {
    std::string names = "DNS:localhost,IP:127.0.0.1";
    std::string key_password = {};  // encrypts the key
    bool outdated = false;          // valid until a day ago
  };
  // Files "NAME.crt" and "NAME.key"; those of an earlier call are replaced.
  TlsFiles issue(const std::string& name, const Wish& wish) const;
  TlsFiles issue(const std::string& name) const { return issue(name, {}); }

  // A path in the folder.
  std::string path(const std::string& name) const { return folder_ / name; }
  // Writes a file there; its path.
  std::string write(const std::string& name, const std::string& text) const;

 private:
  struct State;
  std::filesystem::path folder_;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::http
