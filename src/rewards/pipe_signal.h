// Writing to a pipe or socket whose reader is gone, without dying of SIGPIPE.
#pragma once

#include <csignal>

namespace candor::rewards {

// While it lives, such a write by this thread fails with EPIPE and does nothing else.
class PipeSignalHeld {
 public:
  PipeSignalHeld();
  ~PipeSignalHeld();
  PipeSignalHeld(const PipeSignalHeld&) = delete;
  PipeSignalHeld& operator=(const PipeSignalHeld&) = delete;

 private:
  sigset_t before_;
};

}  // namespace candor::rewards
