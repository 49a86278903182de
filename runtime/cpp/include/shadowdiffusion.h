/* Restores photographs with a shadowdiffusion bundle: shadow removal, low light, exposure. C11 or C++.

   Every function may be called from any thread, and one restorer from several threads at once, unless it says
   otherwise. No function throws. Those that can fail return a status; shadowdiffusion_error() then has one readable
   line for people.

       shadowdiffusion_restorer *restorer;
       if (shadowdiffusion_open(NULL, NULL, &restorer) != SHADOWDIFFUSION_OK) { puts(shadowdiffusion_error()); ... }
       shadowdiffusion_photo photo = {pixels, SHADOWDIFFUSION_UINT8, height, width, 3, 0};
       shadowdiffusion_result result = {.size = sizeof result, .image = restored};
       shadowdiffusion_restore(restorer, &photo, NULL, NULL, &result);
       shadowdiffusion_close(restorer);
*/
#ifndef SHADOWDIFFUSION_H
#define SHADOWDIFFUSION_H

#include <stddef.h>
#include <stdint.h>

#define SHADOWDIFFUSION_VERSION_MAJOR 0
#define SHADOWDIFFUSION_VERSION_MINOR 1
#define SHADOWDIFFUSION_VERSION_PATCH 0

#define SHADOWDIFFUSION_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* What a call came to. New failures may be added: treat any other than OK as one. */
typedef enum shadowdiffusion_status {
    SHADOWDIFFUSION_OK = 0,
    SHADOWDIFFUSION_BAD_ARGUMENT = 1,  /* an option or pointer that cannot be right */
    SHADOWDIFFUSION_BAD_BUNDLE = 2,    /* missing, damaged, of another format version, or not what its manifest says */
    SHADOWDIFFUSION_BAD_PHOTO = 3,     /* a photo or mask that is not usable */
    SHADOWDIFFUSION_OUT_OF_MEMORY = 4, /* a smaller working size may fit */
    SHADOWDIFFUSION_CANCELLED = 5,     /* the progress callback asked for it */
    SHADOWDIFFUSION_FAILED = 6         /* anything else */
} shadowdiffusion_status;

typedef enum shadowdiffusion_type {
    SHADOWDIFFUSION_UINT8 = 0,  /* 0 to 255 */
    SHADOWDIFFUSION_UINT16 = 1, /* 0 to 65535 */
    SHADOWDIFFUSION_FLOAT = 2   /* 0 to 1 */
} shadowdiffusion_type;

/* Pixels of the caller, sRGB-encoded, top row first, bands interleaved. They are only read, and not kept. */
typedef struct shadowdiffusion_photo {
    const void *pixels;
    int32_t type;  /* a shadowdiffusion_type */
    size_t height; /* pixels, at least 1 */
    size_t width;  /* pixels, at least 1 */
    size_t bands;  /* 3: red, green, blue; 1: grey */
    size_t stride; /* bytes from one row to the next; 0: rows follow each other without a gap */
} shadowdiffusion_photo;

/* Called after each diffusion step, on the thread that called shadowdiffusion_restore: `done` of `steps` are done.
   Returning 0 goes on; anything else ends the restoration with SHADOWDIFFUSION_CANCELLED. */
typedef int (*shadowdiffusion_progress)(int32_t done, int32_t steps, void *context);

/* Called with a line of UTF-8 for people, valid during the call, on the thread that called the library. That of settings
   hears that there is no cache, that a backend is passed over, that an engine is checked; that of options, where a result is not
   quite as good as it could be: native_size had to be run in tiles. */
typedef void (*shadowdiffusion_warning)(const char *line, void *context);

/* How a bundle is opened. Begin with shadowdiffusion_settings_init. */
typedef struct shadowdiffusion_settings {
    size_t size;         /* sizeof(shadowdiffusion_settings): tells the library which fields the caller knows */
    const char *task;    /* of the built-in bundle: "shadow" (also NULL), "low-light" or "exposure" */
    const char *backend; /* what runs the networks: "auto" (also NULL), or one that was built in: "cpu-kernels",
                            "openvino", "onnxruntime" */
    int32_t threads;     /* CPU threads; 0: one per core */
    shadowdiffusion_warning warning; /* or NULL; may be called as long as the restorer is open */
    void *context;                   /* handed to `warning` */
} shadowdiffusion_settings;

/* What is asked for. Begin with shadowdiffusion_options_init. */
typedef struct shadowdiffusion_options {
    size_t size;          /* sizeof(shadowdiffusion_options) */
    int32_t steps;        /* one of the bundle's step counts; 0: its default */
    uint64_t seed;        /* of the noise: the same seed gives the same result; default 0 */
    int32_t working_size; /* long side in pixels at which the networks run, never above the photo's; 0: the bundle's */
    int32_t native_size;  /* not 0: run the networks at the photo's own size, which takes time and memory; in tiles where
                             that does not suffice, which is not quite as good */
    double strength;      /* 0: the photo is left as it is, to 1: changed in full; default 1 */
    shadowdiffusion_progress progress; /* or NULL */
    void *context;                     /* handed to `progress` and `warning` */
    shadowdiffusion_warning warning;   /* or NULL */
} shadowdiffusion_options;

/* Where results go: buffers of the caller, NULL for what is not wanted. */
typedef struct shadowdiffusion_result {
    size_t size;         /* sizeof(shadowdiffusion_result) */
    void *image;         /* the restored photo: type, size, bands and stride are the photo's. May be the photo itself. */
    float *mask;         /* [height, width] in [0, 1]: the shadow as it was refined last; costs time */
    void *prior;         /* as `image`: the degradation prior's result alone */
    float *illumination; /* [h, w, 3] at the working size (shadowdiffusion_working_size): photo / restored in linear
                            light; 1: unchanged, below 1: the photo was darker */
} shadowdiffusion_result;

typedef struct shadowdiffusion_restorer shadowdiffusion_restorer;

/* "MAJOR.MINOR.PATCH" of the library, which may be newer than this header. */
SHADOWDIFFUSION_API const char *shadowdiffusion_version(void);

/* Why the last call on this thread failed, one line of UTF-8; "" after a call that did not. Valid until the next call
   on this thread. */
SHADOWDIFFUSION_API const char *shadowdiffusion_error(void);

/* Fill with the defaults. Always given the size the caller knows: use the macros below. */
SHADOWDIFFUSION_API void shadowdiffusion_settings_defaults(shadowdiffusion_settings *settings, size_t size);
SHADOWDIFFUSION_API void shadowdiffusion_options_defaults(shadowdiffusion_options *options, size_t size);
#define shadowdiffusion_settings_init(settings) shadowdiffusion_settings_defaults((settings), sizeof *(settings))
#define shadowdiffusion_options_init(options) shadowdiffusion_options_defaults((options), sizeof *(options))

/* Open and verify a bundle: a folder or a zip file; NULL: a built-in one. settings: NULL for the defaults.
   *restorer is set to NULL unless the status is OK. */
SHADOWDIFFUSION_API shadowdiffusion_status shadowdiffusion_open(const char *bundle,
                                                                const shadowdiffusion_settings *settings,
                                                                shadowdiffusion_restorer **restorer);

/* Free a restorer that no other thread uses any more; NULL is allowed. */
SHADOWDIFFUSION_API void shadowdiffusion_close(shadowdiffusion_restorer *restorer);

/* Restore a photo. mask: white = shadow, of the photo's size, any type, 1 or 3 bands (luminance counts); NULL lets the
   prior find the shadow. options: NULL for the defaults. On failure what the buffers hold is undefined. */
SHADOWDIFFUSION_API shadowdiffusion_status shadowdiffusion_restore(shadowdiffusion_restorer *restorer,
                                                                   const shadowdiffusion_photo *photo,
                                                                   const shadowdiffusion_photo *mask,
                                                                   const shadowdiffusion_options *options,
                                                                   const shadowdiffusion_result *result);

/* The size at which the networks see a photo of height x width pixels under these options. */
SHADOWDIFFUSION_API shadowdiffusion_status shadowdiffusion_working_size(const shadowdiffusion_restorer *restorer,
                                                                        size_t height, size_t width,
                                                                        const shadowdiffusion_options *options,
                                                                        size_t *working_height, size_t *working_width);

/* Run the bundle's golden example: *psnr (may be NULL) in dB against what the exporter got, infinite if equal.
   SHADOWDIFFUSION_BAD_BUNDLE below 50 dB: results on this machine cannot be trusted. */
SHADOWDIFFUSION_API shadowdiffusion_status shadowdiffusion_check(shadowdiffusion_restorer *restorer, double *psnr);

#ifdef __cplusplus
}
#endif
#endif
