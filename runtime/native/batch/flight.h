// Several photos in hand at once, each in a thread: one is read, one in the networks, one written. Twin of
// runtime/batch/flight.py.
#pragma once

#include <functional>
#include <span>

#include "batch/outcome.h"
#include "batch/plan.h"
#include "batch/stopping.h"

namespace shadowdiffusion {

// Restores one photo; patient: waits for another process that is at it. Must not throw.
using Work = std::function<Outcome(const Job&, bool patient)>;

// Calls `landed` on this thread with what became of each photo, as they finish. What other processes are at comes last,
// when they have finished. Only `in_flight` are begun before the first has landed, so that memory does not grow with
// their number.
void restore_all(std::span<const Job> jobs, const Work& work, std::size_t in_flight, const Stop& stop,
                 const std::function<void(Outcome)>& landed);

}  // namespace shadowdiffusion
