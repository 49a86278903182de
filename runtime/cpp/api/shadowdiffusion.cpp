// The C interface: nothing is thrown past it, and what went wrong is kept for the thread that called.
#include "shadowdiffusion.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "bundle/opening.h"
#include "errors.h"
#include "loading.h"
#include "restorer.h"
#include "text.h"

struct shadowdiffusion_restorer {
    std::unique_ptr<shadowdiffusion::Restorer> restorer;
};

namespace {

using namespace shadowdiffusion;

// An argument that cannot be right.
struct ArgumentError : RestoreError {
    using RestoreError::RestoreError;
};

thread_local std::string last_error;

shadowdiffusion_status keep(shadowdiffusion_status status, const char* message) noexcept {
    try {
        last_error = message;
    } catch (const std::bad_alloc&) {
        last_error.clear();
    }
    return status;
}

template <class Work>
shadowdiffusion_status guarded(const Work& work) noexcept {
    try {
        last_error.clear();
        work();
        return SHADOWDIFFUSION_OK;
    } catch (const BundleError& error) {
        return keep(SHADOWDIFFUSION_BAD_BUNDLE, error.what());
    } catch (const PhotoError& error) {
        return keep(SHADOWDIFFUSION_BAD_PHOTO, error.what());
    } catch (const OutOfMemoryError& error) {
        return keep(SHADOWDIFFUSION_OUT_OF_MEMORY, error.what());
    } catch (const Cancelled& error) {
        return keep(SHADOWDIFFUSION_CANCELLED, error.what());
    } catch (const ArgumentError& error) {
        return keep(SHADOWDIFFUSION_BAD_ARGUMENT, error.what());
    } catch (const std::bad_alloc&) {
        return keep(SHADOWDIFFUSION_OUT_OF_MEMORY, "memory ran out");
    } catch (const std::exception& error) {
        return keep(SHADOWDIFFUSION_FAILED, error.what());
    } catch (...) {
        return keep(SHADOWDIFFUSION_FAILED, "unexpected failure");
    }
}

void check_given(const void* pointer, const char* name) {
    if (pointer == nullptr) throw ArgumentError(text(name, " is NULL"));
}

template <class T>
T& needed(T* pointer, const char* name) {
    check_given(pointer, name);
    return *pointer;
}

// The caller's struct in the form that this library knows: fields that the caller does not know have their defaults.
template <class T>
T known(const T* given, T defaults, const char* name) {
    if (given == nullptr) return defaults;
    if (given->size < sizeof given->size || given->size > 4096)
        throw ArgumentError(text("the size of ", name, " is ", given->size, ": begin with shadowdiffusion_", name, "_init"));
    std::memcpy(&defaults, given, std::min(given->size, sizeof(T)));
    return defaults;
}

shadowdiffusion_settings default_settings() { return {sizeof(shadowdiffusion_settings), nullptr, nullptr, 0, nullptr, nullptr}; }

shadowdiffusion_options default_options() {
    shadowdiffusion_options options{};
    options.size = sizeof options;
    options.strength = 1;
    return options;
}

template <class T>
void fill(T* out, std::size_t size, T defaults) {
    if (out == nullptr || size < sizeof out->size) return;
    defaults.size = size;
    std::memset(static_cast<void*>(out), 0, size);  // fields of a newer header than this library are 0
    std::memcpy(static_cast<void*>(out), &defaults, std::min(size, sizeof(T)));
}

ImageView view_of(const shadowdiffusion_photo& photo, const char* name) {
    check_given(photo.pixels, name);
    if (photo.type < SHADOWDIFFUSION_UINT8 || photo.type > SHADOWDIFFUSION_FLOAT)
        throw ArgumentError(text("the type of ", name, " is ", photo.type, ", which is no shadowdiffusion_type"));
    ImageView view{static_cast<const std::byte*>(photo.pixels), static_cast<PixelType>(photo.type), photo.height,
                   photo.width, photo.bands, photo.stride};
    std::size_t row = 0, whole = 0;
    if (__builtin_mul_overflow(photo.width, photo.bands * size_of(view.type), &row) ||
        __builtin_mul_overflow(std::max(row, photo.stride), photo.height, &whole))
        throw ArgumentError(text(name, " is too large: ", photo.width, "x", photo.height, " pixels"));
    if (photo.stride == 0) view.stride = row;
    if (view.stride < row || view.stride % size_of(view.type) != 0)
        throw ArgumentError(text("the stride of ", name, " is ", photo.stride, " bytes: rows have ", row,
                                 ", and strides are whole numbers of pixels' values"));
    return view;
}

Options options_of(const shadowdiffusion_options& given) {
    if (given.steps < 0) throw ArgumentError(text("steps is ", given.steps, ": choose 0 for the bundle's default"));
    if (given.working_size < 0)
        throw ArgumentError(text("working_size is ", given.working_size, ": choose 0 for the bundle's"));
    Options options;
    if (given.steps > 0) options.steps = given.steps;
    if (given.working_size > 0) options.working_size = given.working_size;
    options.seed = given.seed;
    options.native = given.native_size != 0;
    options.strength = given.strength;
    if (given.progress)
        options.progress = [call = given.progress, context = given.context](int done, int steps) {
            return call(done, steps, context) == 0;
        };
    if (given.warning)
        options.warn = [call = given.warning, context = given.context](const std::string& line) {
            call(line.c_str(), context);
        };
    return options;
}

Targets targets_of(const shadowdiffusion_result* result, const ImageView& photo, const Restorer& with, const Options& wanted) {
    check_given(result, "result");
    const shadowdiffusion_result given = known(result, shadowdiffusion_result{}, "result");
    const auto writable = [&](void* pixels) {
        return MutableImageView{static_cast<std::byte*>(pixels), photo.type, photo.height, photo.width, photo.bands, photo.stride};
    };
    Targets targets;
    if (given.image) targets.image = writable(given.image);
    if (given.prior) targets.prior = writable(given.prior);
    if (given.mask) targets.mask = {given.mask, photo.height * photo.width};
    if (given.illumination) {
        const auto [height, width] = with.working_size({photo.height, photo.width}, wanted);
        targets.illumination = {given.illumination, height * width * 3};
    }
    return targets;
}

}  // namespace

const char* shadowdiffusion_version(void) { return SHADOWDIFFUSION_VERSION_TEXT; }

const char* shadowdiffusion_error(void) { return last_error.c_str(); }

void shadowdiffusion_settings_defaults(shadowdiffusion_settings* settings, size_t size) {
    fill(settings, size, default_settings());
}

void shadowdiffusion_options_defaults(shadowdiffusion_options* options, size_t size) {
    fill(options, size, default_options());
}

shadowdiffusion_status shadowdiffusion_open(const char* bundle, const shadowdiffusion_settings* settings,
                                            shadowdiffusion_restorer** restorer) {
    return guarded([&] {
        needed(restorer, "restorer") = nullptr;
        const shadowdiffusion_settings given = known(settings, default_settings(), "settings");
        if (given.threads < 0) throw ArgumentError(text(given.threads, " threads are too few: choose at least 1"));
        if (bundle && given.task)
            throw ArgumentError(text("a task chooses a built-in bundle: leave out task ", given.task, " with bundle ", bundle));
        std::optional<std::filesystem::path> path;
        if (bundle) path = bundle;
        if (given.task) path = built_in(given.task);
        LoadOptions options;
        if (given.backend) options.backend = given.backend;
        options.threads = static_cast<unsigned>(given.threads);
        if (given.warning)
            options.say = [call = given.warning, context = given.context](const std::string& line) { call(line.c_str(), context); };
        *restorer = new shadowdiffusion_restorer{load(path, options)};
    });
}

void shadowdiffusion_close(shadowdiffusion_restorer* restorer) { delete restorer; }

shadowdiffusion_status shadowdiffusion_restore(shadowdiffusion_restorer* restorer, const shadowdiffusion_photo* photo,
                                               const shadowdiffusion_photo* mask,
                                               const shadowdiffusion_options* options,
                                               const shadowdiffusion_result* result) {
    return guarded([&] {
        const Restorer& with = *needed(restorer, "restorer").restorer;
        const Options wanted = options_of(known(options, default_options(), "options"));
        const ImageView view = view_of(needed(photo, "photo"), "photo");
        const ImageView mask_view = mask ? view_of(*mask, "mask") : ImageView{};
        const Targets targets = targets_of(result, view, with, wanted);
        with.restore_into(view, mask ? &mask_view : nullptr, wanted, targets);
    });
}

shadowdiffusion_status shadowdiffusion_working_size(const shadowdiffusion_restorer* restorer, size_t height,
                                                    size_t width, const shadowdiffusion_options* options,
                                                    size_t* working_height, size_t* working_width) {
    return guarded([&] {
        if (height == 0 || width == 0) throw ArgumentError(text("a photo of ", width, "x", height, " pixels has none"));
        const Options wanted = options_of(known(options, default_options(), "options"));
        const auto [h, w] = needed(restorer, "restorer").restorer->working_size({height, width}, wanted);
        needed(working_height, "working_height") = h;
        needed(working_width, "working_width") = w;
    });
}

shadowdiffusion_status shadowdiffusion_check(shadowdiffusion_restorer* restorer, double* psnr) {
    return guarded([&] {
        const double found = needed(restorer, "restorer").restorer->check();
        if (psnr) *psnr = found;
    });
}
