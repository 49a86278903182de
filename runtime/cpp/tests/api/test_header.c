/* The header is C11, and what needs no bundle works from C. */
#include "shadowdiffusion.h"

#include <stdio.h>
#include <string.h>

static int failures = 0;

static void expect(int truth, const char *what) {
    if (!truth) {
        printf("not so: %s\n", what);
        ++failures;
    }
}

static int stop(int32_t done, int32_t steps, void *context) {
    (void)done, (void)steps, (void)context;
    return 1;
}

int main(void) {
    expect(strcmp(shadowdiffusion_version(), "0.1.0") == 0, "the version is that of the header");

    shadowdiffusion_options options;
    shadowdiffusion_options_init(&options);
    expect(options.size == sizeof options && options.strength == 1 && options.steps == 0, "options have defaults");
    options.progress = stop;

    shadowdiffusion_settings settings;
    shadowdiffusion_settings_init(&settings);
    expect(settings.task == NULL && settings.threads == 0, "settings have defaults");

    shadowdiffusion_restorer *restorer = (shadowdiffusion_restorer *)&settings;
    expect(shadowdiffusion_open("/nowhere", &settings, &restorer) == SHADOWDIFFUSION_BAD_BUNDLE, "no such bundle");
    expect(restorer == NULL, "nothing was opened");
    expect(strstr(shadowdiffusion_error(), "bundle /nowhere does not exist") != NULL, "the error names the bundle");
    expect(shadowdiffusion_open(NULL, NULL, NULL) == SHADOWDIFFUSION_BAD_ARGUMENT, "NULL is refused");
    expect(shadowdiffusion_restore(NULL, NULL, NULL, NULL, NULL) == SHADOWDIFFUSION_BAD_ARGUMENT, "NULL is refused");
    shadowdiffusion_close(NULL);

    expect(shadowdiffusion_open(NULL, NULL, &restorer) == SHADOWDIFFUSION_OK, shadowdiffusion_error());
    expect(shadowdiffusion_error()[0] == '\0', "no error is left");
    static uint8_t pixels[32 * 48 * 3];
    memset(pixels, 90, sizeof pixels);
    const shadowdiffusion_photo photo = {pixels, SHADOWDIFFUSION_UINT8, 32, 48, 3, 0};
    const shadowdiffusion_result result = {.size = sizeof result, .image = pixels};
    expect(shadowdiffusion_restore(restorer, &photo, NULL, &options, &result) == SHADOWDIFFUSION_CANCELLED,
           "the callback cancels");
    expect(shadowdiffusion_restore(restorer, &photo, NULL, NULL, &result) == SHADOWDIFFUSION_OK,
           shadowdiffusion_error());
    shadowdiffusion_close(restorer);
    return failures;
}
