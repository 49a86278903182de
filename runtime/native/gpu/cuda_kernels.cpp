#include "gpu/cuda_kernels.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <system_error>

#include "errors.h"
#include "files.h"
#include "gpu/grid_rule.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::string_view ANY = "_any";  // ends the name of a specialisation that asks less of its arguments
constexpr std::int64_t PLAIN_SHARED = 48 * 1024;  // bytes of shared memory that every kernel may have without asking

// Pointers that the compiler adds to every kernel, and which these kernels never follow.
bool is_scratch(std::string_view name) { return name == "global_scratch" || name == "profile_scratch"; }

std::optional<std::uint64_t> value_of(std::span<const Argument> arguments, std::string_view name) {
    const auto found = std::ranges::find(arguments, name, &Argument::name);
    if (found == arguments.end()) return {};
    return found->value;
}

std::size_t size_of_type(std::string_view type) {
    if (type.starts_with('*') || type == "i64") return 8;
    return type == "i32" ? 4 : 0;
}

template <class List, class Name>
std::string joined(const List& list, const Name& name) {
    std::string line;
    for (const auto& one : list) line += (line.empty() ? "" : ", ") + std::string(name(one));
    return line;
}

}  // namespace

ParameterList parameter_list(std::span<const KernelArgument> arguments) {
    ParameterList list;
    for (const KernelArgument& argument : arguments) {
        const std::size_t size = size_of_type(argument.type);
        if (size == 0)
            throw BundleError(text("a kernel of the bundle takes a type unknown here (", argument.type,
                                   "): upgrade shadowdiffusion"));
        list.offsets.push_back((list.size + size - 1) / size * size);
        list.size = list.offsets.back() + size;
    }
    return list;
}

// One kernel in the GPU.
struct CudaKernels::Loaded {
    Loaded(const Bundle& bundle, const Kernel& of, const KernelBuild& with, const Cuda& on)
        : cuda(on), kernel(of), build(with), parameters(parameter_list(of.arguments)), packed(parameters.size) {
        std::vector<std::byte> code;
        try {
            code = read_file(bundle.path / build.file);
        } catch (const std::system_error& error) {
            throw BundleError(text("cannot read ", (bundle.path / build.file).string(), ": ", error.code().message()));
        }
        code.push_back(std::byte{0});  // were it text, it would end so
        cuda.call(cuda.driver().cuModuleLoadData, &module, static_cast<const void*>(code.data()));
        try {
            cuda.call(cuda.driver().cuModuleGetFunction, &function, module, kernel.entry.c_str());
            if (build.shared > PLAIN_SHARED)
                cuda.call(cuda.driver().cuFuncSetAttribute, function, CUDA_MAX_DYNAMIC_SHARED,
                          static_cast<int>(build.shared));
        } catch (const RestoreError&) {
            cuda.release(cuda.driver().cuModuleUnload, module);
            throw;
        }
    }
    ~Loaded() { cuda.release(cuda.driver().cuModuleUnload, module); }
    Loaded(const Loaded&) = delete;
    Loaded& operator=(const Loaded&) = delete;

    void launch(std::size_t images, std::span<const Argument> arguments) {
        std::ranges::fill(packed, std::byte{0});
        std::size_t known = 0;
        for (std::size_t i = 0; i < kernel.arguments.size(); ++i) {
            const KernelArgument& argument = kernel.arguments[i];
            const auto value = value_of(arguments, argument.name);
            if (!value && !is_scratch(argument.name)) refuse(arguments);
            if (!value) continue;
            ++known;
            std::memcpy(&packed[parameters.offsets[i]], &*value, size_of_type(argument.type));  // little-endian
        }
        if (known != arguments.size()) refuse(arguments);
        const auto number = [&](std::string_view name) -> std::optional<std::int64_t> {
            if (name == "images") return static_cast<std::int64_t>(images);
            const auto value = value_of(arguments, name);
            return value ? std::optional(static_cast<std::int64_t>(*value)) : std::nullopt;
        };
        const auto along = [&](std::size_t axis) { return programs(kernel.grid[axis], number); };
        std::size_t size = packed.size();
        void* extra[] = {CUDA_LAUNCH_BUFFER, packed.data(), CUDA_LAUNCH_BUFFER_SIZE, &size, nullptr};
        cuda.call(cuda.driver().cuLaunchKernel, function, along(0), along(1), along(2),
                  static_cast<unsigned>(32 * kernel.warps), 1u, 1u, static_cast<unsigned>(build.shared), cuda.stream(),
                  static_cast<void**>(nullptr), static_cast<void**>(extra));
    }

    [[noreturn]] void refuse(std::span<const Argument> arguments) const {
        throw BundleError(text("kernel ", kernel.name, " takes ", joined(kernel.arguments, [](const auto& a) { return a.name; }),
                               ", not ", joined(arguments, [](const auto& a) { return a.name; }),
                               ": build the bundle's kernels again"));
    }

    const Cuda& cuda;
    const Kernel& kernel;
    const KernelBuild& build;
    const ParameterList parameters;
    std::vector<std::byte> packed;
    CudaModule module = nullptr;
    CudaFunction function = nullptr;
};

CudaKernels::CudaKernels(const Bundle& bundle, const Cuda& cuda) : bundle_(bundle), cuda_(cuda) {
    for (const Kernel& kernel : bundle.manifest.kernels)
        if (const KernelBuild* build = kernel.build_for(cuda.gpu().sm)) builds_[kernel.name] = {&kernel, build};
    if (builds_.empty()) throw RestoreError(text("the bundle has no kernels for this GPU: ", advice()));
}

CudaKernels::~CudaKernels() = default;

void CudaKernels::require(const std::set<std::string>& names) const {
    for (const std::string& name : names)
        if (!builds_.contains(name)) throw RestoreError(text("the bundle's kernels lack ", name, ": ", advice()));
}

void CudaKernels::launch(const std::string& name, std::size_t images, std::span<const Argument> arguments) {
    fitting(name, arguments).launch(images, arguments);
}

CudaKernels::Loaded& CudaKernels::fitting(const std::string& name, std::span<const Argument> arguments) {
    for (const std::string& candidate : {name, name + std::string(ANY)}) {
        const auto found = builds_.find(candidate);
        if (found == builds_.end()) continue;
        const auto& [kernel, build] = found->second;
        const auto takes = [&](const KernelArgument& argument) {
            return value_of(arguments, argument.name).value_or(0) % static_cast<std::uint64_t>(argument.multiple) == 0;
        };
        if (!std::ranges::all_of(kernel->arguments, takes)) continue;
        std::unique_ptr<Loaded>& loaded = loaded_[candidate];
        if (!loaded) loaded = std::make_unique<Loaded>(bundle_, *kernel, *build, cuda_);
        return *loaded;
    }
    require({name});
    throw RestoreError(text("kernel ", name, " does not take images of this size: ", advice()));
}

std::string CudaKernels::advice() const {
    return text("python -m export kernels ", bundle_.path.string(), " --sm ", cuda_.gpu().sm);
}

}  // namespace shadowdiffusion
