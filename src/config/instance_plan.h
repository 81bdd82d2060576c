#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "config/kv_layout.h"

namespace fathom::config {

enum class Role : std::uint8_t { kUnified, kPrefill, kDecode };
enum class DeviceKind : std::uint8_t { kCpu, kCuda };
enum class LogThreshold : std::uint8_t { kDebug, kInfo, kWarning, kError };

// The shape of an instance: how its ranks share the work. Sizes count ranks unless said otherwise.
struct LayoutPlan {
  std::int32_t nodes = 1;
  std::int32_t node_rank = 0;          // this node
  std::int32_t pipeline_parallel = 1;  // stages
  std::int32_t tensor_parallel = 1;    // ranks of one stage
  std::int32_t data_parallel = 1;      // DP groups
  bool dp_attention = false;           // attention is data-parallel inside the TP group
  std::int32_t attention_tensor_parallel = 1;
  std::int32_t expert_parallel = 1;
  std::int32_t dense_tensor_parallel = 1;  // dense MLP layers and shared experts
  bool dp_lm_head = false;                 // the head is split inside the attention TP group alone
  std::int32_t ranks_per_node = 1;
  std::int32_t first_rank = 0;        // of this node
  std::int32_t first_device = 0;      // of this node's first rank
  std::int32_t device_step = 1;       // between the devices of two ranks
  std::int32_t physical_experts = 0;  // routed ones and their replicas; per MoE layer
  std::int32_t experts_per_rank = 0;  // per MoE layer
};

// What one DP group may have under way.
struct LimitsPlan {
  std::int32_t context_tokens = 0;          // prompt and answer of a request are below this
  std::int32_t chunk_tokens = 0;            // prompt rows of one step
  std::int32_t max_running = 0;             // requests that hold pages
  std::int32_t max_prefill_tokens = 0;      // of one step; the tighter of it and chunk_tokens holds
  std::int32_t prefill_max_requests = 0;    // requests with prompt rows in one step; 0: any
  std::int32_t max_queued = 0;              // waiting requests of the instance; 0: no such limit
  std::int32_t request_slots = 0;           // rows of a rank's request table
  std::int32_t aux_entries = 0;             // first-token buffers of a handover; 0: no handover
  std::int32_t reserved_decode_tokens = 0;  // headroom of a request admitted on a decode instance
  // The part of a request's remaining tokens that counts when it is admitted (sched::Budget).
  float reserve_ratio = 0.7F;
  std::int32_t reserve_clip = 4096;  // remaining tokens that count at most then
  std::string schedule_policy;  // who of those that wait is next: "fcfs", "lof", "lpm", "random"
  bool priorities = false;      // they count before the policy
  bool low_priorities_first = false;
};

// The caches of one rank.
struct CachePlan {
  KvCacheDType dtype = KvCacheDType::kAuto;
  KvLayout layout;
  std::int32_t layers = 0;           // with caches, the draft layer's included when it runs
  std::int64_t bytes_per_token = 0;  // all those layers
  std::int64_t max_tokens = 0;       // --max-total-tokens; 0: as many as fit
  std::int32_t pages = 0;            // of kPageTokens; 0: known only once the device's weights lie
  std::int64_t pool_tokens() const { return std::int64_t{pages} * kPageTokens; }
  std::int64_t pool_bytes() const { return pool_tokens() * bytes_per_token; }
  double memory_fraction = 0;  // --mem-fraction-static as given or derived
  bool prefix_cache = false;
  bool evicts_least_used = false;  // else what was used longest ago
};

struct SpeculationPlan {
  std::string algorithm;  // "EAGLE"; empty: none
  std::int32_t steps = 0;
  std::int32_t top_k = 0;
  std::int32_t draft_tokens = 0;   // rows verified per request and round
  std::int32_t verify_tokens = 0;  // of a full batch: max_running x draft_tokens
  // Tokens that the draft layer guesses after each step.
  std::int32_t drafts() const { return algorithm.empty() ? 0 : steps; }
  std::int32_t verified() const { return algorithm.empty() ? 0 : draft_tokens; }
  // In [0, 1]; below 1 drafts decide themselves (ops::SampleArgs).
  double accept_threshold_single = 1;
  double accept_threshold_acc = 1;
  bool off_switch = false;  // drafts are off while they cost more than they save
};

struct ExchangePlan {
  std::string backend;                        // of the expert exchange: "none", "deepep" …
  std::string mode;                           // "normal", "low_latency", "auto"
  std::int32_t dispatch_capacity_tokens = 0;  // of one rank and step in low-latency mode
};

struct GraphPlan {
  bool enabled = false;
  std::vector<std::int32_t> batch_sizes;  // requests of one rank, as given or derived
  std::int32_t max_batch_size = 0;
  bool pads = true;  // a batch between two sizes runs in the next larger one's graph
  std::int32_t tokens_per_request = 1;  // each graph covers batch size x this

  // The sizes that batches of at most `running` requests need, ascending, each once: those up to
  // `running`, and when they pad the next one up, cut to `running`.
  std::vector<std::int32_t> batches_up_to(std::int32_t running) const;
};

// Handover between prefill and decode instances.
struct HandoverPlan {
  std::string backend;
  std::string devices;  // --disaggregation-ib-device as given
  std::int32_t bootstrap_port = 0;
  std::string bootstrap_host;  // where ranks of a prefill instance register
  std::int32_t bootstrap_timeout_s = 300;
  std::int32_t waiting_timeout_s = 300;
  std::int32_t traffic_class = -1;  // of the packets; -1: the device's own
};

// A port that the instance takes, with the name of its user.
struct PortUse {
  std::string user;
  std::int32_t port = 0;
};

// What an operator has switched on to watch an instance (docs/operations.md).
struct MonitoringPlan {
  bool metrics = false;           // /metrics
  bool token_histograms = false;  // among them
  // Rules of their bounds (observe/buckets.h); empty: the default.
  std::vector<std::string> prompt_buckets;
  std::vector<std::string> answer_buckets;
  // Bounds in seconds; empty: the default.
  std::vector<double> first_token_buckets;
  std::vector<double> inter_token_buckets;
  std::vector<double> latency_buckets;
  // Labels of request metrics whose values requests bring in a header, as a JSON object.
  std::vector<std::string> custom_labels;
  std::string custom_labels_header;
  // Labels of every metric that has a model's name, by name.
  std::vector<std::pair<std::string, std::string>> extra_labels;
  bool log_requests = false;
  std::int32_t log_requests_level = 2;
  bool log_requests_json = false;
  std::int32_t log_exceeded_ms = -1;  // requests that are quicker have no finish line; -1: all do
  bool log_time_stats = false;
  std::int32_t decode_log_interval = 40;  // steps with decode rows
  std::string crash_dump_folder;          // empty: no dumps
  double stall_warning_s = 0;             // 0: no warnings
  double watchdog_s = 300;                // 0: no watchdog
  double soft_watchdog_s = 0;             // 0: none
};

// How HTTP is served.
struct HttpPlan {
  std::string api_key;        // that requests must carry; empty: none
  std::string admin_api_key;  // the same for endpoints that manage the server
  std::string certificate;    // PEM files; empty: no TLS
  std::string key;
  std::string key_password;
  std::string authorities;   // that the certificate must come from; empty: any
  bool refresh_tls = false;  // when the files change
  std::int64_t max_body_bytes = 0;
  bool access_log = false;
  std::vector<std::string> access_log_leaves_out;  // beginnings of paths
  // Paths that are answered elsewhere: from where they are by default to where.
  std::vector<std::pair<std::string, std::string>> moved_paths;
};

// What one node of an instance will be: everything that was typed, read from the environment and
// derived (docs/flags.md), checked against the model and the machine. Code above config reads this
// and nothing that the user typed.
//
// All numbers have been checked: an engine can be made from them as they are.
struct InstancePlan {
  // Model and names.
  std::string model_path;      // the folder
  std::string tokenizer_path;  // the folder
  std::string served_model_name;
  std::string weight_version;

  // Where it listens.
  std::string host;
  std::vector<PortUse> control_ports;  // derived ones; empty with one rank
  HttpPlan http;
  std::int32_t port = 0;
  bool skip_tokenizer = false;  // token ids in, token ids out

  // What it computes with.
  Role role = Role::kUnified;
  DeviceKind device = DeviceKind::kCpu;
  Arithmetic arithmetic = Arithmetic::kDeployed;
  bool deterministic = false;  // on a GPU; a CPU always is
  int threads = 1;             // of this node, all its ranks together
  std::uint64_t random_seed = 0;

  LayoutPlan layout;
  LimitsPlan limits;
  CachePlan cache;
  SpeculationPlan speculation;
  ExchangePlan exchange;
  GraphPlan graphs;
  HandoverPlan handover;
  std::string load_balance;  // how requests are shared out among DP groups
  bool overlap_schedule = false;

  // Serving.
  std::string reasoning_parser;      // the flag's name for it; empty: none
  std::string tool_call_parser;      // likewise
  std::string preferred_sampling;    // JSON object; empty: none
  std::string chat_template;         // a file; empty: the checkpoint's, or the model's own encoding
  std::string file_storage;          // folder of uploads and batches
  std::int32_t stream_interval = 1;  // tokens between two events of a stream
  std::int32_t warmup_timeout_s = 600;
  std::int32_t health_timeout_s = 20;
  bool incremental_streaming = false;  // /generate streams pieces, not all that is there so far
  bool skip_warmup = false;
  bool health_generates = true;        // /health asks the engine
  bool own_chat_encoding = false;      // the model's, even where the checkpoint has a template
  bool use_sampling_defaults = true;   // of the model's generation_config.json, for chat
  bool grammars = true;                // answers may be held to a grammar
  bool cache_report = false;           // usage tells how much of the prompt was cached
  bool forward_unknown_tools = false;  // calls of tools that a request does not have are told
  bool default_thinking = false;       // for chat requests that do not say
  bool auto_truncate = false;          // requests that are too long are shortened
  bool log_milliseconds = false;
  LogThreshold log_level = LogThreshold::kInfo;
  MonitoringPlan monitoring;
};

}  // namespace fathom::config
