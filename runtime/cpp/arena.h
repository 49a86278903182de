// Memory for the temporaries of one restoration: taken like a stack, kept from photo to photo.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

namespace shadowdiffusion {

// Not for several threads at once. After a first restoration, `settle` has one block that holds all of the next one of
// the same size, which then allocates nothing.
class Arena {
  public:
    // Uninitialised memory for `count` values, aligned to 64 bytes, until the Scope around this call ends.
    template <class T>
    std::span<T> take(std::size_t count) {
        static_assert(std::is_trivial_v<T>);
        return {static_cast<T*>(bytes(count * sizeof(T))), count};
    }

    // Gives back what was taken since it began.
    class Scope {
      public:
        explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) {}
        ~Scope() {
            if (!kept_) arena_.block_ = block_, arena_.used_ = used_;
        }
        // Leave what was taken to the scope around this one.
        void keep() { kept_ = true; }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        Arena& arena_;
        std::size_t block_, used_;
        bool kept_ = false;
    };

    // Join the blocks into one as large as was needed. Nothing may be taken. Shrinks where far less was needed.
    void settle();

    // Bytes that are held.
    std::size_t held() const;

    // Bytes among them that earlier restorations have written to, so that the system has already given them.
    std::size_t kept() const { return kept_; }

  private:
    struct Release {
        void operator()(std::byte* memory) const;
    };
    struct Block {
        std::unique_ptr<std::byte[], Release> memory;
        std::size_t size;
    };
    static Block block_of(std::size_t size);
    void* bytes(std::size_t count);

    std::vector<Block> blocks_;
    std::size_t block_ = 0, used_ = 0;  // the block that is being filled, and how far
    std::size_t most_ = 0;              // bytes taken at once since the last `settle`
    std::size_t kept_ = 0;
};

}  // namespace shadowdiffusion
