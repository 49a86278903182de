"""Plans: networks as the CPU kernels of runtime/cpp/cpu run them."""
