#include "data/dedup.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "data/json_reader.h"
#include "data/statistics.h"
#include "text/normalizer.h"

namespace candor::data {
namespace {

using text::Json;

constexpr size_t kShingleCharacters = 5;
constexpr size_t kHashes = 128;
constexpr double kLikelyMiss = 1e-3;             // of a pair at the threshold
constexpr double kClearlyBelowThreshold = 0.25;  // more than five standard deviations of the estimate from 128 hashes

constexpr const char* kNormalizer = R"({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]})";

using Signature = std::array<uint32_t, kHashes>;

uint64_t mixed(uint64_t x) {  // the finalizer of splitmix64, Steele et al. (2014)
  x += 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

uint64_t hashed(std::string_view bytes) {  // FNV-1a, mixed
  uint64_t hash = 0xCBF29CE484222325;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  return mixed(hash);
}

// Shingles as a sorted list of distinct hashes; a text shorter than one is its own.
std::vector<uint64_t> shingles(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t i = 0; i < text.size(); ++i)
    if ((text[i] & 0xC0) != 0x80) starts.push_back(i);
  starts.push_back(text.size());
  std::vector<uint64_t> hashes;
  if (starts.size() <= kShingleCharacters) {
    hashes.push_back(hashed(text));
  } else {
    for (size_t i = 0; i + kShingleCharacters < starts.size(); ++i)
      hashes.push_back(hashed(text.substr(starts[i], starts[i + kShingleCharacters] - starts[i])));
  }
  std::sort(hashes.begin(), hashes.end());
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  return hashes;
}

Signature signature_of(const std::vector<uint64_t>& shingles, uint64_t seed) {
  Signature signature;
  signature.fill(UINT32_MAX);
  std::array<uint64_t, kHashes> keys;
  for (size_t i = 0; i < kHashes; ++i) keys[i] = mixed(seed * kHashes + i);
  for (const uint64_t shingle : shingles)
    for (size_t i = 0; i < kHashes; ++i)
      signature[i] = std::min(signature[i], static_cast<uint32_t>(mixed(shingle ^ keys[i]) >> 32));
  return signature;
}

double jaccard(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  size_t both = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    both += a[i] == b[j] ? 1 : 0;
    const bool step_a = a[i] <= b[j], step_b = b[j] <= a[i];
    i += step_a ? 1 : 0;
    j += step_b ? 1 : 0;
  }
  return static_cast<double>(both) / static_cast<double>(a.size() + b.size() - both);
}

double estimate(const Signature& a, const Signature& b) {
  size_t equal = 0;
  for (size_t i = 0; i < kHashes; ++i) equal += a[i] == b[i] ? 1 : 0;
  return static_cast<double>(equal) / kHashes;
}

double miss(double threshold, size_t band) {
  return std::pow(1 - std::pow(threshold, static_cast<double>(band)), static_cast<double>(kHashes / band));
}

// Hashes in a band: as many as leave a pair at the threshold unseen no more often than kLikelyMiss.
size_t band_for(double threshold) {
  size_t band = 1;
  while (band < 32 && miss(threshold, band * 2) <= kLikelyMiss) band *= 2;
  return band;
}

Result<std::string> compared_text(const Row& row, const std::string& file, const DedupOptions& options) {
  if (options.columns.empty()) {
    if (!type_of(row.columns)) {
      return error("{}: expected a column of text that training reads, got {}. Name the columns to compare.",
                   place(file, row), column_names(row.columns));
    }
    return training_text(row.columns);
  }
  Json chosen = Json::object();
  for (const std::string& name : options.columns) {
    if (!row.columns.contains(name)) return error("{}: there is no column \"{}\".", place(file, row), name);
    chosen["text"].push_back(row.columns[name]);
  }
  return training_text(chosen);
}

Result<std::string> normalized(std::string words, const text::Normalizer& normalizer) {
  words = TRY(text::normalize(normalizer, std::move(words)));
  std::string out;
  for (const char c : words) {
    const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!space) out += c;
    if (space && !out.empty() && out.back() != ' ') out += ' ';
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// The rows that were kept so far, by what they say.
class KeptRows {
 public:
  KeptRows(double threshold, uint64_t seed) : threshold_(threshold), seed_(seed), band_(band_for(threshold)) {}

  // The index among the kept rows that this text repeats, and how nearly; otherwise the text is kept.
  std::pair<std::optional<size_t>, double> find_or_keep(std::string words) {
    const auto [same, is_new] = equal_.emplace(words, texts_.size());
    if (!is_new) return {same->second, 1.0};
    if (threshold_ < 1) {
      const std::vector<uint64_t> these = shingles(words);
      const Signature signature = signature_of(these, seed_);
      const auto found = nearest(these, signature);
      if (found.first) {
        equal_.erase(same);
        return found;
      }
      for (size_t first = 0; first < kHashes; first += band_)
        bands_[band_key(signature, first)].push_back(texts_.size());
      signatures_.push_back(signature);
    }
    texts_.push_back(std::move(words));
    return {std::nullopt, 0};
  }

 private:
  uint64_t band_key(const Signature& signature, size_t first) const {
    uint64_t key = mixed(first);
    for (size_t i = first; i < first + band_; ++i) key = mixed(key ^ signature[i]);
    return key;
  }

  // The most similar kept text at or above the threshold, the earliest of equals.
  std::pair<std::optional<size_t>, double> nearest(const std::vector<uint64_t>& these,
                                                   const Signature& signature) const {
    std::vector<size_t> candidates;
    for (size_t first = 0; first < kHashes; first += band_) {
      const auto band = bands_.find(band_key(signature, first));
      if (band != bands_.end()) candidates.insert(candidates.end(), band->second.begin(), band->second.end());
    }
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    std::pair<std::optional<size_t>, double> best{std::nullopt, 0};
    for (const size_t index : candidates) {
      if (estimate(signature, signatures_[index]) < threshold_ - kClearlyBelowThreshold) continue;
      const double similarity = jaccard(these, shingles(texts_[index]));
      if (similarity >= threshold_ && similarity > best.second) best = {index, similarity};
    }
    return best;
  }

  double threshold_;
  uint64_t seed_;
  size_t band_;
  std::vector<std::string> texts_;
  std::vector<Signature> signatures_;
  std::unordered_map<std::string, size_t> equal_;
  std::unordered_map<uint64_t, std::vector<size_t>> bands_;
};

}  // namespace

Result<Deduplicated> deduplicate(const Rows& rows, const DedupOptions& options,
                                 const std::function<void(int64_t)>& progress) {
  if (!(options.threshold > 0 && options.threshold <= 1))
    return error("threshold is {}. Expected more than 0 and at most 1.", options.threshold);
  const text::Normalizer normalizer = TRY(text::parse_normalizer(nlohmann::json::parse(kNormalizer), "dedup"));
  Deduplicated result{{rows.name, {}}, {}, 0};
  if (options.threshold < 1) result.miss_probability = miss(options.threshold, band_for(options.threshold));
  KeptRows kept(options.threshold, options.seed);
  for (const Row& row : rows.rows) {
    const std::string words = TRY(compared_text(row, rows.name, options));
    const auto [index, similarity] = kept.find_or_keep(TRY(normalized(words, normalizer)));
    if (index)
      result.pairs.push_back({row.number, result.kept.rows[*index].number, similarity});
    else
      result.kept.rows.push_back(row);
    if (progress) progress(row.number);
  }
  return result;
}

}  // namespace candor::data
