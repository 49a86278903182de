#include "batch/stopping.h"

#include <unistd.h>

#include <csignal>

namespace shadowdiffusion {
namespace {

Stop* asked = nullptr;

extern "C" void handle(int number) {
    if (asked->asked()) ::_exit(128 + number);
    asked->now(number);
}

}  // namespace

void stop_on_signals(Stop& stop) {
    asked = &stop;
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction before{};
        ::sigaction(number, nullptr, &before);
        if (before.sa_handler == SIG_IGN) continue;  // nohup stays in force
        struct sigaction action{};
        action.sa_handler = handle;
        ::sigaction(number, &action, nullptr);
    }
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace shadowdiffusion
