#include "http/tls.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/log.h"

namespace fathom::http {

namespace {

// Of TLS 1.2; those of 1.3 are all of this kind.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using OwnedContext = std::unique_ptr<SSL_CTX, FreeContext>;
struct FreeSession {
  void operator()(SSL* session) const { SSL_free(session); }
};

// The oldest error of this thread, which is the cause of the others; forgets them all.
unsigned long take_error() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  return error;
}

std::string reason_of(unsigned long error) {
  const char* const reason = ERR_reason_error_string(error);
  return reason == nullptr ? "error " + std::to_string(error) : reason;
}

// Why a file cannot be opened; empty when it can.
std::string cannot_open(const std::string& path) {
  const int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (handle < 0) return std::generic_category().message(errno);
  ::close(handle);
  return "";
}

Status refuse(const std::string& what, const std::string& path, const std::string& why) {
  return invalid_argument(what + " '" + path + "': " + why);
}

// What is said of a file that OpenSSL did not like.
Status refuse_file(const std::string& what, const std::string& path) {
  const unsigned long error = take_error();
  if (std::string why = cannot_open(path); !why.empty()) return refuse(what, path, why);
  const bool no_pem =
      ERR_GET_REASON(error) == PEM_R_NO_START_LINE || ERR_GET_REASON(error) == ERR_R_UNSUPPORTED;
  return refuse(what, path, no_pem ? "expected one in PEM form" : reason_of(error));
}

struct Password {
  std::string_view text;
  bool asked = false;
};

int give_password(char* into, int size, int /*writing*/, void* password_void) {
  auto& password = *static_cast<Password*>(password_void);
  password.asked = true;
  if (password.text.size() > static_cast<std::size_t>(size)) return -1;
  std::ranges::copy(password.text, into);
  return static_cast<int>(password.text.size());
}

Status load_key(SSL_CTX* context, const TlsFiles& files) {
  Password password{files.key_password};
  SSL_CTX_set_default_passwd_cb(context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, &password);
  const int loaded = SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  SSL_CTX_set_default_passwd_cb(context, nullptr);
  if (loaded == 1 && SSL_CTX_check_private_key(context) == 1) return {};
  const unsigned long newest = ERR_peek_last_error();
  if (loaded == 1 || (ERR_GET_LIB(newest) == ERR_LIB_X509 &&
                      (ERR_GET_REASON(newest) == X509_R_KEY_VALUES_MISMATCH ||
                       ERR_GET_REASON(newest) == X509_R_KEY_TYPE_MISMATCH))) {
    ERR_clear_error();
    return refuse("key", files.key,
                  "it does not belong to the certificate '" + files.certificate + "'");
  }
  if (password.asked) {
    ERR_clear_error();
    return refuse("key", files.key,
                  files.key_password.empty() ? "it is encrypted, and no password is given"
                                             : "its password is another than the one given");
  }
  return refuse_file("key", files.key);
}

void warn_of_age(const SSL_CTX* context, const std::string& path) {
  const X509* const certificate = SSL_CTX_get0_certificate(context);
  if (certificate == nullptr) return;
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    log_warning("the certificate '" + path + "' is out of date: clients will not believe it");
  } else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
    log_warning("the certificate '" + path + "' is not valid yet: clients will not believe it");
  }
}

// Takes HTTP/1.1 where a client lets us choose; where it does not offer it, says nothing.
int choose_protocol(SSL* /*session*/,
                    const unsigned char** chosen,
                    unsigned char* chosen_size,
                    const unsigned char* offered,
                    unsigned int offered_size,
                    void* /*context*/) {
  constexpr std::string_view kHttp = "http/1.1";
  for (unsigned int at = 0; at < offered_size; at += 1U + offered[at]) {
    const unsigned int size = offered[at];
    if (size > offered_size - at - 1) break;
    const unsigned char* const name = offered + at + 1;
    if (!std::equal(name, name + size, kHttp.begin(), kHttp.end())) continue;
    *chosen = name;
    *chosen_size = offered[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

OwnedContext new_context(const SSL_METHOD* method) {
  OwnedContext context(SSL_CTX_new(method));
  FATHOM_CHECK_MSG(context != nullptr, "out of memory");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  FATHOM_CHECK(SSL_CTX_set_cipher_list(context.get(), kCiphers) == 1);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // Idle connections hold no buffers of 16 KiB; an output may move while it waits.
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Sessions are resumed from what the client keeps, so nothing grows here.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  return context;
}

// The system's own file BIO writes without MSG_NOSIGNAL: a peer that is gone would end the process.
int write_socket(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const int socket = *static_cast<int*>(BIO_get_data(bio));
  const ssize_t count = ::send(socket, data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int read_socket(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const int socket = *static_cast<int*>(BIO_get_data(bio));
  const ssize_t count = ::recv(socket, data, static_cast<std::size_t>(size), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  if (count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(count);
}

long control_socket(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

// Made once and never let go of.
const BIO_METHOD* socket_method() {
  static const BIO_METHOD* const made = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    FATHOM_CHECK_MSG(method != nullptr, "out of memory");
    BIO_meth_set_write(method, write_socket);
    BIO_meth_set_read(method, read_socket);
    BIO_meth_set_ctrl(method, control_socket);
    return method;
  }();
  return made;
}

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* const address = a2i_IPADDRESS(host.c_str());
  ERR_clear_error();
  if (address == nullptr) return false;
  ASN1_OCTET_STRING_free(address);
  return true;
}

}  // namespace

struct TlsContext::State {
  OwnedContext context;
  TlsTrust trust;  // of a client
};

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::for_server(const TlsFiles& files) {
  ERR_clear_error();
  OwnedContext context = new_context(TLS_server_method());
  SSL_CTX_set_options(context.get(),
                      SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context.get(), 1);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return refuse_file("certificate", files.certificate);
  }
  FATHOM_RETURN_IF_ERROR(load_key(context.get(), files));
  warn_of_age(context.get(), files.certificate);
  auto state = std::make_unique<State>();
  state->context = std::move(context);
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(state)));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::for_client(const TlsTrust& trust) {
  ERR_clear_error();
  OwnedContext context = new_context(TLS_client_method());
  if (trust.verify) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    if (trust.authorities.empty()) {
      SSL_CTX_set_default_verify_paths(context.get());
      ERR_clear_error();
    } else if (SSL_CTX_load_verify_file(context.get(), trust.authorities.c_str()) != 1) {
      return refuse_file("certificates of authorities", trust.authorities);
    }
  }
  auto state = std::make_unique<State>();
  state->context = std::move(context);
  state->trust = trust;
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(state)));
}

struct TlsSession::State {
  std::shared_ptr<const TlsContext> context;
  int socket;
  std::unique_ptr<SSL, FreeSession> session;

  State(const std::shared_ptr<const TlsContext>& of, int on)
      : context(of), socket(on), session(SSL_new(of->state_->context.get())) {
    FATHOM_CHECK_MSG(session != nullptr, "out of memory");
    BIO* const bio = BIO_new(socket_method());
    FATHOM_CHECK_MSG(bio != nullptr, "out of memory");
    BIO_set_data(bio, &socket);
    BIO_set_init(bio, 1);
    SSL_set_bio(session.get(), bio, bio);
  }
};

TlsSession::TlsSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsSession::~TlsSession() = default;

std::unique_ptr<TlsSession> TlsSession::accept(const std::shared_ptr<const TlsContext>& context,
                                               int socket) {
  auto state = std::make_unique<State>(context, socket);
  SSL_set_accept_state(state->session.get());
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(state)));
}

std::unique_ptr<TlsSession> TlsSession::connect(const std::shared_ptr<const TlsContext>& context,
                                                int socket,
                                                const std::string& host) {
  auto state = std::make_unique<State>(context, socket);
  SSL* const session = state->session.get();
  SSL_set_connect_state(session);
  const bool address = is_address(host);
  if (!address) SSL_set_tlsext_host_name(session, host.c_str());
  if (context->state_->trust.verify && context->state_->trust.verify_name) {
    X509_VERIFY_PARAM* const wanted = SSL_get0_param(session);
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int taken = address ? X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str())
                              : X509_VERIFY_PARAM_set1_host(wanted, host.c_str(), host.size());
    FATHOM_CHECK_MSG(taken == 1, "out of memory");
  }
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(state)));
}

TlsSession::Step TlsSession::step(int result) {
  if (result > 0) return Step::kDone;
  SSL* const session = state_->session.get();
  const int system_error = errno;
  switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ:
      return Step::kWantRead;
    case SSL_ERROR_WANT_WRITE:
      return Step::kWantWrite;
    case SSL_ERROR_ZERO_RETURN:
      return Step::kEnded;
    case SSL_ERROR_SYSCALL:
      failure_ =
          system_error == 0 ? "the peer broke off" : std::generic_category().message(system_error);
      break;
    default: {
      const long verified = SSL_get_verify_result(session);
      const unsigned long error = take_error();
      peer_speaks_http_ =
          ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST;
      failure_ = verified == X509_V_OK ? reason_of(error) : X509_verify_cert_error_string(verified);
      break;
    }
  }
  ERR_clear_error();
  open_ = false;
  return Step::kFailed;
}

TlsSession::Step TlsSession::shake_hands() {
  ERR_clear_error();
  errno = 0;
  const Step now = step(SSL_do_handshake(state_->session.get()));
  open_ = now == Step::kDone;
  return now;
}

TlsSession::Step TlsSession::read(std::span<char> into, std::size_t& count) {
  ERR_clear_error();
  errno = 0;
  const int size = static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX));
  const int result = SSL_read(state_->session.get(), into.data(), size);
  count = result > 0 ? static_cast<std::size_t>(result) : 0;
  return step(result);
}

TlsSession::Step TlsSession::write(std::string_view bytes, std::size_t& count) {
  ERR_clear_error();
  errno = 0;
  const int size = static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX));
  const int result = SSL_write(state_->session.get(), bytes.data(), size);
  count = result > 0 ? static_cast<std::size_t>(result) : 0;
  return step(result);
}

void TlsSession::end_sending() {
  if (!std::exchange(open_, false)) return;
  SSL_shutdown(state_->session.get());
  ERR_clear_error();
}

}  // namespace fathom::http
