#include "rewards/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <utility>

#include "rewards/pipe_signal.h"

namespace candor::rewards {

namespace {

constexpr rlim_t kOpenFiles = 256;
constexpr size_t kKeptErrors = 4096;  // bytes of stderr
constexpr int kLastLines = 5;
constexpr const char* kEnvironment[] = {"PATH", "HOME", "LANG"};
constexpr int kFirstFree = 10;  // our descriptors stay clear of the child's 0 to 3

void close_one(int& descriptor) {
  if (descriptor >= 0) ::close(descriptor);
  descriptor = -1;
}

std::string reason(int code) {
  return std::generic_category().message(code);
}

// Both ends close on exec and lie above the numbers that the child uses.
struct Pipe {
  int read = -1, write = -1;

  static Result<Pipe> make() {
    std::array<int, 2> raw{};
    if (::pipe2(raw.data(), O_CLOEXEC) != 0) return error("cannot make a pipe: {}.", reason(errno));
    Pipe pipe{::fcntl(raw[0], F_DUPFD_CLOEXEC, kFirstFree), ::fcntl(raw[1], F_DUPFD_CLOEXEC, kFirstFree)};
    ::close(raw[0]);
    ::close(raw[1]);
    if (pipe.read < 0 || pipe.write < 0) return error("cannot make a pipe: {}.", reason(EMFILE));
    return pipe;
  }
};

// The file to run: a path as it is, a bare name from PATH.
Result<std::string> program_file(const std::string& name) {
  if (name.empty()) return error("the program's name is empty.");
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view rest = path ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    std::string candidate = fmt::format("{}/{}", rest.substr(0, end), name);
    if (end > 0 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return error("cannot find {} in PATH.", name);
}

void limit(int resource, rlim_t most) {
  const rlimit both{most, most};
  ::setrlimit(static_cast<__rlimit_resource_t>(resource), &both);
}

// In the child, between fork and exec: only calls that are safe there. Reports a failure as an errno on descriptor 3.
[[noreturn]] void become(const char* file, char* const* argv, char* const* environment, const std::array<int, 4>& ends,
                         const ChildLimits& limits, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  for (int i = 0; i < 4; ++i) ::dup2(ends[i], i);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  ::close_range(4, ~0U, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, kOpenFiles);
  if (limits.memory_bytes > 0) limit(RLIMIT_AS, static_cast<rlim_t>(limits.memory_bytes));
  ::execve(file, argv, environment);
  const int code = errno;
  [[maybe_unused]] const ssize_t said = ::write(3, &code, sizeof code);
  ::_exit(127);
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& argv, const ChildLimits& limits) {
  if (argv.empty()) return error("no program is named.");
  const std::string file = TRY(program_file(argv.front()));
  std::vector<char*> words, environment;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  std::vector<std::string> variables;
  for (const char* name : kEnvironment)
    if (const char* value = std::getenv(name)) variables.push_back(fmt::format("{}={}", name, value));
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);

  std::array<Pipe, 4> pipes;  // its stdin, stdout, stderr, and why it could not start
  for (size_t i = 0; i < pipes.size(); ++i) {
    auto made = Pipe::make();
    if (!made) {
      for (Pipe& pipe : pipes) close_one(pipe.read), close_one(pipe.write);
      return made.error();
    }
    pipes[i] = *made;
  }
  const std::array<int, 4> its_ends = {pipes[0].read, pipes[1].write, pipes[2].write, pipes[3].write};
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(file.c_str(), words.data(), environment.data(), its_ends, limits, parent);
  const int fork_code = errno;
  for (int end : its_ends) ::close(end);
  ChildProcess child;
  child.pid_ = pid;
  child.input_ = pipes[0].write;
  child.output_ = pipes[1].read;
  child.errors_ = pipes[2].read;
  int code = fork_code;
  ssize_t said = pid < 0 ? static_cast<ssize_t>(sizeof code) : -1;
  if (pid > 0) {
    ::setpgid(pid, pid);
    do said = ::read(pipes[3].read, &code, sizeof code);
    while (said < 0 && errno == EINTR);
  }
  ::close(pipes[3].read);
  if (said > 0) return error("cannot start {}: {}.", file, reason(code));
  for (int end : {child.input_, child.output_, child.errors_}) ::fcntl(end, F_SETFL, O_NONBLOCK);
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept {
  *this = std::move(other);
}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(input_, other.input_);
  std::swap(output_, other.output_);
  std::swap(errors_, other.errors_);
  std::swap(status_, other.status_);
  std::swap(said_, other.said_);
  return *this;
}

ChildProcess::~ChildProcess() {
  end();
  close_one(input_);
  close_one(output_);
  close_one(errors_);
}

void ChildProcess::end() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);  // where it left its group
  while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void ChildProcess::allow_processor_time(std::chrono::duration<double> wall) const {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return;
  const double cores = std::max(1U, std::thread::hardware_concurrency());
  const rlimit allowed{static_cast<rlim_t>(used.tv_sec) + static_cast<rlim_t>(std::ceil(wall.count() * cores)) + 1,
                       RLIM_INFINITY};
  ::prlimit(pid_, RLIMIT_CPU, &allowed, nullptr);
}

void ChildProcess::drain_errors() {
  std::array<char, 4096> part;
  for (ssize_t got; errors_ >= 0 && (got = ::read(errors_, part.data(), part.size())) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return;
    said_.append(part.data(), static_cast<size_t>(got));
    if (said_.size() > kKeptErrors) said_.erase(0, said_.size() - kKeptErrors);
  }
  close_one(errors_);
}

Result<ChildProcess::Talk> ChildProcess::talk(std::string_view to_send, Clock::time_point deadline,
                                              const std::function<Result<bool>(std::string_view)>& heard) {
  allow_processor_time(deadline - Clock::now());
  std::array<char, 1 << 16> part;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Talk::kTimeout;
    pollfd ends[] = {{output_, POLLIN, 0}, {errors_, POLLIN, 0}, {to_send.empty() ? -1 : input_, POLLOUT, 0}};
    const int ready = ::poll(ends, std::size(ends), static_cast<int>(std::min<int64_t>(left, 1000)));
    if (ready < 0 && errno != EINTR) return error("cannot wait for the program: {}.", reason(errno));
    if (ready <= 0) continue;
    if (ends[1].revents != 0) drain_errors();
    if (ends[2].revents != 0) {
      const PipeSignalHeld held;
      const ssize_t written = ::write(input_, to_send.data(), to_send.size());
      if (written > 0) to_send.remove_prefix(static_cast<size_t>(written));
      // It may have said all there is to say before it closed its input: what counts is its output.
      if (written < 0 && errno == EPIPE) to_send = {};
    }
    if (ends[0].revents != 0) {
      const ssize_t got = ::read(output_, part.data(), part.size());
      if (got == 0) return Talk::kEnded;
      if (got > 0 && TRY(heard(std::string_view(part.data(), static_cast<size_t>(got))))) return Talk::kDone;
    }
  }
}

bool ChildProcess::has_output() const {
  pollfd end{output_, POLLIN, 0};
  return ::poll(&end, 1, 0) > 0 && (end.revents & POLLIN) != 0;
}

std::string ChildProcess::how_it_ended() {
  constexpr auto kPatience = std::chrono::milliseconds(500);  // between closing its output and ending
  const auto give_up = Clock::now() + kPatience;
  while (pid_ > 0 && Clock::now() < give_up) {
    siginfo_t ended{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == pid_)
      end();  // what it left behind in its group goes with it
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (pid_ > 0) {
    end();
    return "closed its standard output";
  }
  if (WIFSIGNALED(status_)) {
    const char* name = ::sigdescr_np(WTERMSIG(status_));
    return fmt::format("was killed by signal {} ({})", WTERMSIG(status_), name ? name : "unknown");
  }
  return fmt::format("ended with exit status {}", WEXITSTATUS(status_));
}

std::string ChildProcess::last_words() {
  drain_errors();
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i <= said_.size(); ++i) {
    if (i < said_.size() && said_[i] != '\n') continue;
    if (i > begin) lines.push_back(said_.substr(begin, i - begin));
    begin = i + 1;
  }
  std::string words;
  for (size_t i = lines.size() > kLastLines ? lines.size() - kLastLines : 0; i < lines.size(); ++i)
    words += fmt::format("{}{}", words.empty() ? "" : " | ", lines[i]);
  return words;
}

}  // namespace candor::rewards
