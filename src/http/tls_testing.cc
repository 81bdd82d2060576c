#include "http/tls_testing.h"

#include <fstream>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/check.h"

namespace fathom::http {

namespace {

constexpr long kDay = 24L * 3600;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Output = std::unique_ptr<BIO, Free>;

// Authorities of one name would be taken for each other.
std::string new_name() {
  static int made = 0;
  return "test authority " + std::to_string(++made);
}

Key new_key() {
  Key key(EVP_EC_gen("P-256"));
  FATHOM_CHECK(key != nullptr);
  return key;
}

Output open(const std::string& path) {
  Output output(BIO_new_file(path.c_str(), "w"));
  FATHOM_CHECK_MSG(output != nullptr, path);
  return output;
}

void extend(X509* certificate, int what, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
  FATHOM_CHECK_MSG(extension != nullptr, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Certificate new_certificate(const std::string& name, EVP_PKEY* key, long from_s, long until_s) {
  static long serial = 1;
  Certificate certificate(X509_new());
  FATHOM_CHECK(certificate != nullptr);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until_s);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

}  // namespace

struct TestAuthority::State {
  Key key = new_key();
  Certificate certificate = new_certificate(new_name(), key.get(), -kDay, kDay);
};

TestAuthority::TestAuthority() : state_(std::make_unique<State>()) {
  std::string name = std::filesystem::temp_directory_path() / "fathom-tls-XXXXXX";
  FATHOM_CHECK(mkdtemp(name.data()) != nullptr);
  folder_ = name;
  X509* const own = state_->certificate.get();
  X509_set_issuer_name(own, X509_get_subject_name(own));
  extend(own, NID_basic_constraints, "critical,CA:TRUE");
  FATHOM_CHECK(X509_sign(own, state_->key.get(), EVP_sha256()) != 0);
  PEM_write_bio_X509(open(certificate()).get(), own);
}

TestAuthority::~TestAuthority() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

TlsFiles TestAuthority::issue(const std::string& name, const Wish& wish) const {
  const Key key = new_key();
  const Certificate made = new_certificate(name, key.get(), wish.outdated ? -2 * kDay : -kDay,
                                           wish.outdated ? -kDay : kDay);
  X509_set_issuer_name(made.get(), X509_get_subject_name(state_->certificate.get()));
  extend(made.get(), NID_subject_alt_name, wish.names);
  FATHOM_CHECK(X509_sign(made.get(), state_->key.get(), EVP_sha256()) != 0);

  TlsFiles files{path(name + ".crt"), path(name + ".key"), wish.key_password};
  PEM_write_bio_X509(open(files.certificate).get(), made.get());
  const bool encrypted = !wish.key_password.empty();
  PEM_write_bio_PKCS8PrivateKey(open(files.key).get(), key.get(),
                                encrypted ? EVP_aes_128_cbc() : nullptr,
                                encrypted ? wish.key_password.data() : nullptr,
                                static_cast<int>(wish.key_password.size()), nullptr, nullptr);
  return files;
}

std::string TestAuthority::write(const std::string& name, const std::string& text) const {
  std::ofstream(path(name), std::ios::binary) << text;
  return path(name);
}

}  // namespace fathom::http
