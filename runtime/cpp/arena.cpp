#include "arena.h"

#include <algorithm>
#include <new>

namespace shadowdiffusion {

namespace {

constexpr std::size_t ALIGNMENT = 64;
constexpr std::size_t SMALLEST = std::size_t{1} << 20;  // bytes of a block

}  // namespace

void Arena::Release::operator()(std::byte* memory) const {
    ::operator delete[](memory, std::align_val_t{ALIGNMENT});
}

Arena::Block Arena::block_of(std::size_t size) {
    auto* memory = static_cast<std::byte*>(::operator new[](size, std::align_val_t{ALIGNMENT}));
    return {std::unique_ptr<std::byte[], Release>(memory), size};
}

void* Arena::bytes(std::size_t count) {
    count = (std::max<std::size_t>(count, 1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    while (block_ < blocks_.size() && used_ + count > blocks_[block_].size) ++block_, used_ = 0;
    if (block_ == blocks_.size()) {
        blocks_.push_back(block_of(std::max(count, SMALLEST)));
        used_ = 0;
    }
    std::byte* memory = blocks_[block_].memory.get() + used_;
    used_ += count;
    std::size_t taken = used_;
    for (std::size_t i = 0; i < block_; ++i) taken += blocks_[i].size;
    most_ = std::max(most_, taken);
    return memory;
}

void Arena::settle() {
    if (blocks_.size() > 1 || held() > 4 * std::max(most_, SMALLEST)) {
        blocks_.clear();  // before the new one is had, so that both are never there at once
        blocks_.push_back(block_of(std::max(most_, SMALLEST)));
        kept_ = most_ = 0;
    }
    kept_ = std::max(kept_, most_);
    block_ = used_ = most_ = 0;
}

std::size_t Arena::held() const {
    std::size_t sum = 0;
    for (const Block& block : blocks_) sum += block.size;
    return sum;
}

}  // namespace shadowdiffusion
