#include "shadowdiffusion_cpu.h"

#include "cpu/header.h"

const char* version_from_c(void) { return sdcpu_version(); }
