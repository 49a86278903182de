"""Plans: networks as the CPU kernels of runtime/native/cpu run them."""
