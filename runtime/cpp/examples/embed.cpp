// Restores a photo in a program of one's own: embed IN.ppm OUT.ppm (binary PPM of 8 bits).
#include <shadowdiffusion.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

int main(int count, char** names) {
    if (count != 3) return std::puts("usage: embed IN.ppm OUT.ppm"), 2;
    std::ifstream in(names[1], std::ios::binary);
    std::string kind;
    std::size_t width = 0, height = 0, most = 0;
    in >> kind >> width >> height >> most;
    in.get();
    std::vector<char> pixels(width * height * 3);
    if (kind != "P6" || most != 255 || !in.read(pixels.data(), static_cast<std::streamsize>(pixels.size())))
        return std::puts("not a binary PPM of 8 bits"), 2;

    shadowdiffusion_restorer* restorer;
    if (shadowdiffusion_open(nullptr, nullptr, &restorer)) return std::puts(shadowdiffusion_error()), 1;
    const shadowdiffusion_photo photo = {pixels.data(), SHADOWDIFFUSION_UINT8, height, width, 3, 0};
    shadowdiffusion_result result = {sizeof result, pixels.data(), nullptr, nullptr, nullptr};  // in place
    const int failed = shadowdiffusion_restore(restorer, &photo, nullptr, nullptr, &result);
    if (failed) std::puts(shadowdiffusion_error());
    shadowdiffusion_close(restorer);
    if (failed) return 1;

    std::ofstream out(names[2], std::ios::binary);
    out << "P6\n" << width << ' ' << height << "\n255\n";
    return out.write(pixels.data(), static_cast<std::streamsize>(pixels.size())) ? 0 : 1;
}
