// A part of a test in the child of a fork.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <thread>

// How the child ended: 0 where test() gave true there, 1 where it gave false or threw, 2 where it was still at it after a minute.
template <class Test>
int in_child(const Test& test) {
    const pid_t child = ::fork();
    if (child == 0) {
        bool right = false;
        try {
            right = test();
        } catch (const std::exception&) {
        }
        ::_exit(right ? 0 : 1);
    }
    int status = 0;
    for (int i = 0; i < 6000; ++i) {
        if (::waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return 2;
}
