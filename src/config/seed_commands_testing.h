#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::config {

// The launch commands of the deployment that Fathom takes over, after `launch_server`, and the same
// in the words of later SGLang. Node 1 of decode differs in --node-rank alone.
constexpr std::string_view kSeedPrefill =
    "--model-path deepseek-v3.2 --host 0.0.0.0 --port 8055 --trust-remote-code "
    "--served-model-name DeepSeek-V3.2 "
    "--disaggregation-mode prefill "
    "--disaggregation-ib-device "
    "mlx5_0,mlx5_1,mlx5_2,mlx5_5,mlx5_6,mlx5_7,mlx5_8,mlx5_9 "
    "--disaggregation-transfer-backend mooncake "
    "--tensor-parallel-size 8 --data-parallel-size 8 --enable-dp-attention --moe-dense-tp-size 1 "
    "--enable-dp-lm-head "
    "--moe-a2a-backend deepep --deepep-mode normal --ep-num-redundant-experts 0 "
    "--load-balance-method round_robin --enable-expert-distribution-metrics "
    "--mem-fraction-static 0.8 --max-running-requests 512 --chunked-prefill-size 65536 "
    "--speculative-algorithm EAGLE --speculative-num-steps 1 --speculative-eagle-topk 1 "
    "--speculative-num-draft-tokens 2 "
    "--attention-backend nsa --tool-call-parser deepseekv32 --reasoning-parser deepseek-v3 "
    "--log-requests --log-requests-level 0 --collect-tokens-histogram --enable-metrics "
    "--enable-cache-report --gc-warning-threshold-secs 0.1";

constexpr std::string_view kSeedDecode =
    "--model-path deepseek-v3.2 --host 0.0.0.0 --port 8055 --trust-remote-code "
    "--served-model-name DeepSeek-V3.2 "
    "--disaggregation-mode decode "
    "--disaggregation-ib-device "
    "mlx5_0,mlx5_1,mlx5_2,mlx5_5,mlx5_6,mlx5_7,mlx5_8,mlx5_9 "
    "--disaggregation-transfer-backend mooncake "
    "--dist-init-addr 10.93.161.35:19378 --nnodes 2 --node-rank 0 "
    "--tensor-parallel-size 16 --data-parallel-size 16 --enable-dp-attention "
    "--moe-dense-tp-size 1 --enable-dp-lm-head "
    "--moe-a2a-backend deepep --deepep-mode low_latency --ep-num-redundant-experts 0 "
    "--prefill-round-robin-balance "
    "--mem-fraction-static 0.8 --max-running-requests 1024 "
    "--speculative-algorithm EAGLE --speculative-num-steps 1 --speculative-eagle-topk 1 "
    "--speculative-num-draft-tokens 2 "
    "--attention-backend nsa --tool-call-parser deepseekv32 --reasoning-parser deepseek-v3 "
    "--cuda-graph-bs 1 2 3 4 5 6 8 10 12 16 24 32 64 "
    "--log-requests --log-requests-level 0 --collect-tokens-histogram --enable-metrics "
    "--enable-cache-report --gc-warning-threshold-secs 0.1";

constexpr std::string_view kNewerPrefill =
    "--model-path deepseek-v3.2 --host 0.0.0.0 --port 8055 --trust-remote-code "
    "--served-model-name DeepSeek-V3.2 "
    "--disaggregation-mode prefill "
    "--disaggregation-ib-device "
    "mlx5_0,mlx5_1,mlx5_2,mlx5_5,mlx5_6,mlx5_7,mlx5_8,mlx5_9 "
    "--disaggregation-transfer-backend mooncake "
    "--tp-size 8 --attn-dp-size 8 --moe-dense-tp-size 1 --enable-dp-lm-head "
    "--moe-a2a-backend deepep --deepep-mode normal --ep-num-redundant-experts 0 "
    "--load-balance-method auto --expert-balancedness-report-mode server_log "
    "--mem-fraction-static 0.8 --max-running-requests 512 --chunked-prefill-size 65536 "
    "--speculative-algorithm EAGLE --speculative-num-steps 1 --speculative-eagle-topk 1 "
    "--speculative-num-draft-tokens 2 "
    "--attention-backend dsa --tool-call-parser deepseekv32 --reasoning-parser deepseek-v3 "
    "--log-requests --log-requests-level 0 --enable-metrics --enable-cache-report";

constexpr std::string_view kNewerDecode =
    "--model-path deepseek-v3.2 --host 0.0.0.0 --port 8055 --trust-remote-code "
    "--served-model-name DeepSeek-V3.2 "
    "--disaggregation-mode decode "
    "--disaggregation-ib-device "
    "mlx5_0,mlx5_1,mlx5_2,mlx5_5,mlx5_6,mlx5_7,mlx5_8,mlx5_9 "
    "--disaggregation-transfer-backend mooncake "
    "--dist-init-addr 10.93.161.35:19378 --nnodes 2 --node-rank 0 "
    "--tp-size 16 --attn-dp-size 16 --moe-dense-tp-size 1 --enable-dp-lm-head "
    "--moe-a2a-backend deepep --deepep-mode low_latency --ep-num-redundant-experts 0 "
    "--mem-fraction-static 0.8 --max-running-requests 1024 --load-balance-method round_robin "
    "--speculative-algorithm EAGLE --speculative-num-steps 1 --speculative-eagle-topk 1 "
    "--speculative-num-draft-tokens 2 "
    "--attention-backend dsa --tool-call-parser deepseekv32 --reasoning-parser deepseek-v3 "
    "--cuda-graph-bs-decode 1 2 3 4 5 6 8 10 12 16 24 32 64 "
    "--log-requests --log-requests-level 0 --enable-metrics --enable-cache-report";

// "--port 8055 --host h" as a program gets it.
inline std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> found;
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    if (end != 0) found.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return found;
}

}  // namespace fathom::config
