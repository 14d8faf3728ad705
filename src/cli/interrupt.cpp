#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <string_view>

#include "cli/exit_code.h"

namespace candor::cli {
namespace {

// A signal handler can reach nothing but a lock-free atomic of static storage.
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void say(std::string_view text) {
  // write() may be called in a handler; that it may fail changes nothing.
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
}

void on_signal(int signal) {
  if (interrupted.exchange(true)) {
    if (signal == SIGTERM) return;  // what asked us to stop may ask twice; we are stopping
    say("\ncandor: stopped at once; what was not saved is lost.\n");
    _exit(kInterrupted);
  }
  say("\ncandor: stopping after this step; Ctrl-C again stops at once.\n");
}

}  // namespace

const std::atomic<bool>& catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return interrupted;
}

std::atomic<bool>& catch_answer_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  sigemptyset(&action.sa_mask);  // no SA_RESTART
  sigaction(SIGINT, &action, nullptr);
  return interrupted;
}

}  // namespace candor::cli
