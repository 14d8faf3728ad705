// A stranger's program: started from an argument list without a shell, in a process group of its own, with a scrubbed
// environment and limits; what it says on stderr is kept for messages.
//
// It gets PATH, HOME and LANG from this process's environment and nothing else: no key, token or LD_* of the user's
// reaches it. It writes no core, opens at most 256 files, and has `memory_bytes` of address space. It dies with this
// process, and its whole group is killed when the object goes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::rewards {

struct ChildLimits {
  int64_t memory_bytes = 0;  // of address space; 0: no limit
};

class ChildProcess {
 public:
  using Clock = std::chrono::steady_clock;

  // argv[0] with a slash is a path, else it is looked for in PATH. Error: it cannot be started (the system's reason).
  static Result<ChildProcess> start(const std::vector<std::string>& argv, const ChildLimits& limits);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // kills the group and waits

  enum class Talk { kDone, kEnded, kTimeout };
  // Sends `to_send` to its standard input while handing what comes from its standard output to `heard`, until `heard`
  // returns true (kDone), the program closes its output (kEnded) or the deadline passes. Until then it may use at most
  // that time on every core.
  Result<Talk> talk(std::string_view to_send, Clock::time_point deadline,
                    const std::function<Result<bool>(std::string_view)>& heard);

  // Whether its standard output holds something now.
  bool has_output() const;

  // "ended with exit status 3" or "was killed by signal 9 (Killed)"; kills it first if it is still there.
  std::string how_it_ended();
  // The last lines of its standard error, on one line; empty if it said nothing.
  std::string last_words();

 private:
  ChildProcess() = default;
  void drain_errors();
  void allow_processor_time(std::chrono::duration<double> wall) const;
  void end();

  pid_t pid_ = -1;
  int input_ = -1, output_ = -1, errors_ = -1;  // our ends
  int status_ = 0;                              // of waitpid, once pid_ is -1
  std::string said_;                            // the end of its standard error
};

}  // namespace candor::rewards
