// Graphs that are opened when first asked for, in the background, each once.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "errors.h"
#include "forks.h"

namespace shadowdiffusion {

// What becomes of opened graphs in the child of a fork: those without threads of their own stay. Others are opened again, since
// their threads are gone; a fork then waits for openings, which make nothing that is told of forks, and for runs, which hold
// `turn` of their graph.
enum class InChild { kept, opened_again };

// Calls may come from any thread. A failed opening is tried again by the next photo.
template <class Graph, InChild in_child_of_fork>
class Openings final : AtFork {
  public:
    using Opening = std::shared_future<std::shared_ptr<Graph>>;

    // `open` is called with the name of a graph, from threads of its own, and throws RestoreError.
    explicit Openings(std::function<std::shared_ptr<Graph>(const std::string&)> open) : open_(std::move(open)) {}

    // Begin to open a graph; the result throws what the opening threw.
    Opening operator[](std::string_view name) {
        const std::lock_guard lock(mutex_);
        const auto known = openings_.find(name);
        if (known != openings_.end() && !has_failed(known->second)) return known->second;
        Opening begun = std::async(std::launch::async, open_, std::string(name)).share();
        return openings_.insert_or_assign(std::string(name), std::move(begun)).first->second;
    }

  private:
    static bool has_failed(const Opening& opening) {
        if (opening.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
        try {
            opening.get();
            return false;
        } catch (const RestoreError&) {
            return true;
        }
    }

    static constexpr bool AGAIN = in_child_of_fork == InChild::opened_again;

    // what(graph) for each that is there. mutex_, which is told of the fork first, is held by then.
    template <class What>
    void for_opened(const What& what) noexcept {
        for (const auto& [_, opening] : openings_) {
            opening.wait();
            if (!has_failed(opening)) what(*opening.get());
        }
    }

    void before_fork() noexcept override {
        if constexpr (AGAIN) for_opened([](Graph& graph) { graph.turn.lock(); });
    }

    void in_parent() noexcept override {
        if constexpr (AGAIN) for_opened([](Graph& graph) { graph.turn.unlock(); });
    }

    // What belongs to threads that are gone cannot end: it is left where it is.
    void in_child() noexcept override {
        auto& before = *new std::map<std::string, Opening, std::less<>>(std::move(openings_));
        openings_.clear();
        if constexpr (AGAIN) return;
        for (const auto& [name, opening] : before)
            if (opening.wait_for(std::chrono::seconds(0)) == std::future_status::ready) openings_.emplace(name, opening);
    }

    std::function<std::shared_ptr<Graph>(const std::string&)> open_;
    WaitedForMutex mutex_;
    std::map<std::string, Opening, std::less<>> openings_;
};

}  // namespace shadowdiffusion
