/* Networks of engines of the backend "cpu-kernels": a library of its own, which needs nothing else. Python's runtime loads it
 * (runtime/backends/cpu_library.py). All functions may be called from any thread. */
#ifndef SHADOWDIFFUSION_CPU_H
#define SHADOWDIFFUSION_CPU_H

#include <stddef.h>

#if defined(__GNUC__)
#define SDCPU_API __attribute__((visibility("default")))
#else
#define SDCPU_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sdcpu_network sdcpu_network;

typedef enum sdcpu_status {
    SDCPU_OK = 0,
    SDCPU_ERROR = 1,
    SDCPU_OUT_OF_MEMORY = 2
} sdcpu_status;

/* Such as "0.1.0". */
SDCPU_API const char* sdcpu_version(void);

/* Reads a plan from a file in the format of safetensors. threads: 0 for one per core. Null on failure, with one line in
 * `error`, which holds `error_size` bytes. */
SDCPU_API sdcpu_network* sdcpu_open(const char* path, unsigned threads, char* error, size_t error_size);

/* Of an input or output: its channels, and the image's side over its own. An error for an unknown name. */
SDCPU_API sdcpu_status sdcpu_port(const sdcpu_network* network, const char* name, size_t* channels, size_t* shrink,
                                  char* error, size_t error_size);

/* Runs it on an image of height x width pixels. Inputs and outputs are float32 planes [channels, height, width], by name;
 * row: the network's row for this step, or null with 0 values. Outputs that are not named are not made. */
SDCPU_API sdcpu_status sdcpu_run(sdcpu_network* network, size_t height, size_t width, size_t inputs,
                                 const char* const* input_names, const float* const* input_planes, const float* row,
                                 size_t row_values, size_t outputs, const char* const* output_names,
                                 float* const* output_planes, char* error, size_t error_size);

/* Null is nothing. No call may be running. */
SDCPU_API void sdcpu_close(sdcpu_network* network);

#ifdef __cplusplus
}
#endif

#endif
