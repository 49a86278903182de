/* A library that notes, as it is loaded, whether telemetry is off: 1, 0, or -1 for nothing said. */
#include <stdlib.h>

int telemetry_is_off = -2;

__attribute__((constructor)) static void loaded(void) {
    const char *said = getenv("ORT_DISABLE_TELEMETRY");
    telemetry_is_off = said ? atoi(said) : -1;
}
