#include "rewards/reward_endpoint.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "files/json_file.h"
#include "rewards/external.h"
#include "rewards/pipe_signal.h"

namespace candor::rewards {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr size_t kMostBytes = size_t{64} << 20;
constexpr int kTries = 4;
constexpr auto kFirstPause = std::chrono::milliseconds(250);
constexpr size_t kQuoted = 200;

struct Address {
  std::string origin;  // "https://host:port"
  std::string path;    // "/score?model=a"
  bool tls = false, loopback = false;
};

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

Result<Address> parse_address(const std::string& url) {
  Address address;
  address.tls = url.starts_with("https://");
  if (!address.tls && !url.starts_with("http://"))
    return error("reward_endpoint is {}, expected an address that begins with https:// or http://.", url);
  const size_t host = url.find("//") + 2, path = std::min(url.find_first_of("/?#", host), url.size());
  const std::string_view authority = std::string_view(url).substr(host, path - host);
  if (authority.find('@') != std::string_view::npos)
    return error(
        "reward_endpoint holds a name or password before @. Put a key into a variable of the environment and "
        "name that one in reward_endpoint_key_env.");
  if (authority.empty() || url.find_first_of(" \t\r\n\\") != std::string::npos)
    return error("reward_endpoint is {}, which is no address of a host.", url);
  const bool brackets = authority.starts_with("[");
  const size_t host_end = brackets ? authority.find(']') + 1 : std::min(authority.find(':'), authority.size());
  address.loopback = is_loopback(authority.substr(0, host_end));
  address.origin = url.substr(0, path);
  address.path = path < url.size() && url[path] == '/' ? url.substr(path) : "/" + url.substr(path);
  address.path.resize(std::min(address.path.find('#'), address.path.size()));
  return address;
}

// The key that the named variable holds; nothing without a name.
Result<std::string> key_of(const RewardEndpoint& endpoint, const Address& address) {
  if (endpoint.key_variable.empty()) return std::string();
  if (!address.tls && !address.loopback)
    return error(
        "reward_endpoint {} is plain http, over which a key (reward_endpoint_key_env {}) could be read by "
        "anyone on the way. Use https.",
        endpoint.url, endpoint.key_variable);
  const char* key = std::getenv(endpoint.key_variable.c_str());
  if (key == nullptr || *key == '\0')
    return error("reward_endpoint_key_env names the variable {}, which is not set.", endpoint.key_variable);
  const bool plain =
      std::all_of(key, key + std::char_traits<char>::length(key), [](char c) { return c > ' ' && c <= '~'; });
  if (!plain)
    return error("the variable {} holds a space or a control character, which no key has.", endpoint.key_variable);
  return std::string(key);
}

// Stops a client at the deadline, whatever it is waiting for.
class Watch {
 public:
  Watch(httplib::Client& client, Clock::time_point deadline)
      : thread_([this, &client, deadline] {
          std::unique_lock lock(mutex_);
          if (!over_.wait_until(lock, deadline, [this] { return done_; })) client.stop();
        }) {}
  ~Watch() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_all();
    thread_.join();
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;
};

struct Answer {
  int status = 0;  // 0: none came
  std::string body, failure;
  bool try_again = false;
};

Answer post(const Address& address, const std::string& key, const std::string& body, Clock::time_point deadline) {
  httplib::Client client(address.origin);
  Answer answer;
  if (!client.is_valid()) {
    answer.failure = "is no address that can be connected to";
    return answer;
  }
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
  const auto seconds = static_cast<time_t>(left.count() / 1'000'000),
             rest = static_cast<time_t>(left.count() % 1'000'000);
  client.set_connection_timeout(seconds, rest);
  client.set_read_timeout(seconds, rest);
  client.set_write_timeout(seconds, rest);
  client.set_follow_location(false);
  client.set_decompress(false);
  client.enable_server_certificate_verification(true);
  httplib::Request request;
  request.method = "POST";
  request.path = address.path;
  request.headers = {
      {"Content-Type", "application/json"}, {"Accept", "application/json"}, {"Accept-Encoding", "identity"}};
  if (!key.empty()) request.headers.emplace("Authorization", "Bearer " + key);
  request.body = body;
  bool too_long = false;
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    too_long = answer.body.size() + size > kMostBytes;
    if (!too_long) answer.body.append(data, size);
    return !too_long;
  };
  const PipeSignalHeld held;  // the library's writes do not keep it back
  const Watch watch(client, deadline);
  const httplib::Result result = client.send(request);
  if (too_long) {
    answer.failure = fmt::format("answered with more than {} bytes", kMostBytes);
  } else if (!result) {
    const bool distrusted = result.error() == httplib::Error::SSLServerVerification;
    answer.failure = distrusted ? "has a certificate that this machine's authorities do not vouch for"
                                : fmt::format("cannot be reached: {}", httplib::to_string(result.error()));
    answer.try_again = !distrusted && result.error() != httplib::Error::SSLLoadingCerts;
  } else {
    answer.status = result->status;
    answer.try_again = result->status == 429 || result->status >= 500;
    if (result->status >= 300 && result->status < 400)
      answer.failure = fmt::format(
          "answered with status {}, a redirect to {}, which is not followed. Give the address "
          "itself",
          result->status, result->get_header_value("Location").substr(0, kQuoted));
    else if (result->status != 200)
      answer.failure = fmt::format("answered with status {}: {}", result->status, answer.body.substr(0, kQuoted));
  }
  return answer;
}

Result<void> hand_over(const std::string& url, const std::string& body, size_t asked,
                       const std::function<Result<void>(size_t, std::optional<double>)>& got) {
  const auto json = files::parse_json(body, "answer");
  if (!json || !json->is_object() || !json->contains("rewards") || !(*json)["rewards"].is_array())
    return error("{} answered with no {{\"rewards\": [numbers or null]}}: {}", url, body.substr(0, kQuoted));
  const auto& rewards = (*json)["rewards"];
  if (rewards.size() != asked) return error("{} gave {} scores for {} completions.", url, rewards.size(), asked);
  std::vector<std::optional<double>> scores;
  for (size_t i = 0; i < asked; ++i) {
    const auto score = score_from_json(rewards[i]);
    if (!score) return error("{}, completion {} of {}: {}", url, i + 1, asked, score.error().message);
    scores.push_back(*score);
  }
  for (size_t i = 0; i < asked; ++i) TRY(got(i, scores[i]));
  return {};
}

}  // namespace

Result<Reward> endpoint_reward(RewardEndpoint endpoint) {
  auto parsed = parse_address(endpoint.url);
  if (!parsed) return error("[endpoint] {}", parsed.error().message);
  auto key = key_of(endpoint, *parsed);
  if (!key) return error("[endpoint] {}", key.error().message);
  const auto ask = [endpoint, address = *parsed, key = *key](std::span<const std::string> requests,
                                                             const auto& got) -> Result<void> {
    const std::string body = fmt::format("{{\"completions\": [{}]}}", fmt::join(requests, ", "));
    const Clock::time_point deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(endpoint.timeout_s));
    Answer answer;
    auto pause = kFirstPause;
    for (int i = 0; i < kTries; ++i, pause *= 2) {
      if (i > 0) {
        if (Clock::now() + pause >= deadline) break;
        std::this_thread::sleep_for(pause);
      }
      answer = post(address, key, body, deadline);
      if (!answer.try_again || Clock::now() >= deadline) break;
    }
    if (Clock::now() >= deadline && answer.status == 0)
      return error("{} gave no answer in {} s (reward_timeout).", endpoint.url, endpoint.timeout_s);
    if (!answer.failure.empty()) return error("{} {}.", endpoint.url, answer.failure);
    return hand_over(endpoint.url, answer.body, requests.size(), got);
  };
  return cached_reward("endpoint", "endpoint " + endpoint.url, endpoint.cache, ask);
}

}  // namespace candor::rewards
