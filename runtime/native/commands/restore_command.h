// From the command line to what batch/ does, and its exit code. Twin of runtime/commands/restore_command.py.
#pragma once

#include "batch/stopping.h"
#include "commands/restore_options.h"

namespace shadowdiffusion {

// Restore what `options` name; returns the exit code. Throws RestoreError for bad usage, bundle or machine.
int restore(const RestoreOptions& options, Stop& stop);

}  // namespace shadowdiffusion
