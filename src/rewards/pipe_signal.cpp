#include "rewards/pipe_signal.h"

#include <cerrno>
#include <ctime>

namespace candor::rewards {

namespace {

sigset_t pipe_signal() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGPIPE);
  return set;
}

}  // namespace

PipeSignalHeld::PipeSignalHeld() {
  const sigset_t set = pipe_signal();
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
}

PipeSignalHeld::~PipeSignalHeld() {
  const int code = errno;
  const sigset_t set = pipe_signal();
  const timespec now{};
  ::sigtimedwait(&set, nullptr, &now);  // one that came meanwhile
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  errno = code;
}

}  // namespace candor::rewards
