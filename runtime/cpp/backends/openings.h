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

namespace shadowdiffusion {

// Calls may come from any thread. A failed opening is tried again by the next photo.
template <class Graph>
class Openings {
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

    std::function<std::shared_ptr<Graph>(const std::string&)> open_;
    std::mutex mutex_;
    std::map<std::string, Opening, std::less<>> openings_;
};

}  // namespace shadowdiffusion
