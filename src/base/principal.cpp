#include "base/principal.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"

namespace candor {

namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Takes out of x what lies along the orthonormal vectors, twice, which is enough; returns the length of the rest.
double orthogonalise(const std::vector<Vector>& basis, Vector& x) {
  for (int pass = 0; pass < 2; ++pass)
    for (const Vector& b : basis) {
      const double along = dot(b, x);
      for (size_t i = 0; i < x.size(); ++i) x[i] -= along * b[i];
    }
  return std::sqrt(dot(x, x));
}

void scale(double factor, Vector& x) {
  for (double& value : x) value *= factor;
}

// Eigenvalues of a symmetric tridiagonal matrix into `diagonal`, and its eigenvectors as columns of `vectors` [n][n]:
// QL with implicit shifts (Golub and Van Loan, Matrix Computations, 8.3). `beside` [n - 1] is used up.
void tridiagonal_eigen(Vector& diagonal, Vector beside, std::vector<Vector>& vectors) {
  const size_t n = diagonal.size();
  vectors.assign(n, Vector(n, 0.0));
  for (size_t i = 0; i < n; ++i) vectors[i][i] = 1;
  beside.resize(n, 0.0);
  double largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(diagonal[i]) + std::abs(beside[i]));
  for (size_t low = 0; low < n; ++low) {
    for (int round = 0; round < 100; ++round) {
      size_t high = low;
      while (high + 1 < n && std::abs(beside[high]) > 1e-17 * largest) ++high;
      if (high == low) break;
      const double half = (diagonal[low + 1] - diagonal[low]) / (2 * beside[low]);
      double g =
          diagonal[high] - diagonal[low] + beside[low] / (half + std::copysign(std::sqrt(half * half + 1), half));
      double sine = 1, cosine = 1, carried = 0;
      bool cut = false;
      for (size_t i = high; i-- > low && !cut;) {
        const double f = sine * beside[i], b = cosine * beside[i], r = std::sqrt(f * f + g * g);
        beside[i + 1] = r;
        if (r == 0) {
          diagonal[i + 1] -= carried;
          beside[high] = 0;
          cut = true;
          continue;
        }
        sine = f / r;
        cosine = g / r;
        g = diagonal[i + 1] - carried;
        const double t = (diagonal[i] - g) * sine + 2 * cosine * b;
        carried = sine * t;
        diagonal[i + 1] = g + carried;
        g = cosine * t - b;
        for (Vector& row : vectors) {
          const double x = row[i + 1];
          row[i + 1] = sine * row[i] + cosine * x;
          row[i] = cosine * row[i] - sine * x;
        }
      }
      if (cut) continue;
      diagonal[low] -= carried;
      beside[low] = g;
      beside[high] = 0;
    }
  }
}

// W, or its transpose where that is the taller one, in double; `rows` >= `columns` are of what is taken.
struct Matrix {
  const std::vector<float>& w;
  size_t rows, columns;
  bool transposed;

  Vector times(const Vector& x) const { return transposed ? down(x, columns, rows) : across(x, rows, columns); }
  Vector transposed_times(const Vector& y) const {
    return transposed ? across(y, columns, rows) : down(y, rows, columns);
  }

 private:
  // W x and Wᵀ x as w lies.
  Vector across(const Vector& x, size_t height, size_t width) const {
    Vector y(height, 0.0);
    for (size_t i = 0; i < height; ++i)
      for (size_t k = 0; k < width; ++k) y[i] += static_cast<double>(w[i * width + k]) * x[k];
    return y;
  }
  Vector down(const Vector& x, size_t height, size_t width) const {
    Vector y(width, 0.0);
    for (size_t i = 0; i < height; ++i)
      for (size_t k = 0; k < width; ++k) y[k] += static_cast<double>(w[i * width + k]) * x[i];
    return y;
  }
};

// Orthonormal V and U with W V = U B, B upper bidiagonal: `diagonal` on it, `beside` above.
class Bidiagonalisation {
 public:
  explicit Bidiagonalisation(const Matrix& w) : w_(w) {}

  size_t size() const { return diagonal_.size(); }

  void extend() {
    Vector v;
    double length = 0;
    if (size() > 0) {
      v = w_.transposed_times(u_.back());
      length = orthogonalise(v_, v);
      largest_ = std::max(largest_, length);
    }
    beside_.push_back(length);                        // of this step and the one before; the first is none
    if (length <= 1e-13 * largest_ || size() == 0) {  // what was reached so far is closed: go on anywhere outside of it
      beside_.back() = 0;
      v.assign(w_.columns, 0.0);
      for (size_t i = 0; i < v.size(); ++i)
        v[i] = random_normal({0, RngStream::kInitialisation, 2, static_cast<uint32_t>(size())}, i);
      length = orthogonalise(v_, v);
    }
    scale(1 / length, v);
    Vector u = w_.times(v);
    v_.push_back(std::move(v));
    double alpha = orthogonalise(u_, u);
    largest_ = std::max(largest_, alpha);
    if (alpha <= 1e-13 * largest_) {
      alpha = 0;
      for (size_t i = 0; i < u.size(); ++i)
        u[i] = random_normal({0, RngStream::kInitialisation, 3, static_cast<uint32_t>(size())}, i);
      scale(1 / orthogonalise(u_, u), u);
    } else {
      scale(1 / alpha, u);
    }
    diagonal_.push_back(alpha);
    u_.push_back(std::move(u));
  }

  // The eigenvalues of BᵀB, falling, and its eigenvectors.
  struct Ritz {
    Vector values;
    std::vector<Vector> vectors;  // [k][component]
  };
  Ritz ritz() const {
    const size_t n = size();
    Vector d(n), e;
    for (size_t i = 0; i < n; ++i) {
      d[i] = diagonal_[i] * diagonal_[i] + beside_[i] * beside_[i];
      if (i + 1 < n) e.push_back(diagonal_[i] * beside_[i + 1]);
    }
    std::vector<Vector> columns;
    tridiagonal_eigen(d, std::move(e), columns);
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return d[a] > d[b]; });
    Ritz ritz;
    for (const size_t k : order) {
      ritz.values.push_back(std::max(d[k], 0.0));
      ritz.vectors.emplace_back();
      for (size_t i = 0; i < n; ++i) ritz.vectors.back().push_back(columns[i][k]);
    }
    return ritz;
  }

  // Whether WᵀW of the first `rank` Ritz vectors is their multiple: what is left over lies along the next v.
  bool converged(const Ritz& ritz, size_t rank) const {
    Vector next = w_.transposed_times(u_.back());
    const double left = diagonal_.back() * orthogonalise(v_, next);
    for (size_t k = 0; k < rank; ++k)
      if (std::abs(left * ritz.vectors[k].back()) > 1e-12 * ritz.values[0]) return false;
    return true;
  }

  Vector right(const Vector& components) const {
    Vector v(w_.columns, 0.0);
    for (size_t i = 0; i < size(); ++i)
      for (size_t k = 0; k < v.size(); ++k) v[k] += components[i] * v_[i][k];
    scale(1 / std::sqrt(dot(v, v)), v);
    return v;
  }

 private:
  const Matrix& w_;
  std::vector<Vector> v_, u_;
  Vector diagonal_, beside_;
  double largest_ = 0;
};

}  // namespace

PrincipalFactors principal_factors(const std::vector<float>& w, int64_t rows, int64_t columns, int64_t rank) {
  const bool wide = rows < columns;
  const auto all = static_cast<size_t>(std::min(rows, columns)), tall = static_cast<size_t>(std::max(rows, columns));
  const Matrix matrix{w, tall, all, wide};
  const size_t wanted = std::min(all, static_cast<size_t>(rank));
  Bidiagonalisation bidiagonal(matrix);
  Bidiagonalisation::Ritz ritz;
  for (size_t next = std::min(all, 2 * wanted + 20);; next = std::min(all, next + next / 3)) {
    while (bidiagonal.size() < next) bidiagonal.extend();
    ritz = bidiagonal.ritz();
    if (next == all || bidiagonal.converged(ritz, wanted)) break;
  }
  PrincipalFactors factors;
  for (size_t k = 0; k < static_cast<size_t>(rank); ++k) {
    Vector right(all, 0.0), left(tall, 0.0);
    double value = 0;
    if (k < wanted && ritz.values[k] > 0) {
      right = bidiagonal.right(ritz.vectors[k]);
      left = matrix.times(right);
      value = std::sqrt(dot(left, left));
      if (value > 0) scale(1 / value, left);
    }
    if (wide) std::swap(left, right);
    factors.values.push_back(value);
    factors.left.push_back(std::move(left));
    factors.right.push_back(std::move(right));
  }
  return factors;
}

}  // namespace candor
