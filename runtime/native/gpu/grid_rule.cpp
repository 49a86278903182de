#include "gpu/grid_rule.h"

#include <cctype>
#include <numeric>

#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::int64_t LARGEST = 0x7FFFFFFF;  // programs along x; y and z take fewer, which the driver checks
constexpr int DEEPEST = 100;                  // nested ceil()

// A rule that cannot be followed; `programs` says which.
struct Wrong {};

struct Fraction {
    std::int64_t above, below;  // without a common divisor, below > 0
};

std::int64_t product(std::int64_t a, std::int64_t b) {
    std::int64_t result;
    if (__builtin_mul_overflow(a, b, &result)) throw Wrong();
    return result;
}

Fraction times(Fraction a, Fraction b) {
    const std::int64_t first = std::gcd(a.above, b.below), second = std::gcd(b.above, a.below);
    return {product(a.above / first, b.above / second), product(a.below / second, b.below / first)};
}

class Rule {
  public:
    using Value = std::function<std::optional<std::int64_t>(std::string_view)>;
    Rule(std::string_view text, const Value& value) : rest_(text), value_(value) {}

    Fraction whole() {
        const Fraction result = rule(0);
        if (!next().empty()) throw Wrong();
        return result;
    }

  private:
    static bool letter(char c) { return c == '_' || std::isalpha(static_cast<unsigned char>(c)); }
    static bool digit(char c) { return c >= '0' && c <= '9'; }

    // The token that is next, without taking it; empty at the end.
    std::string_view next() {
        while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front()))) rest_.remove_prefix(1);
        if (rest_.empty()) return {};
        std::size_t length = 1;
        if (digit(rest_[0]))
            while (length < rest_.size() && digit(rest_[length])) ++length;
        else if (letter(rest_[0]))
            while (length < rest_.size() && (letter(rest_[length]) || digit(rest_[length]))) ++length;
        return rest_.substr(0, length);
    }

    std::string_view take() {
        const std::string_view token = next();
        if (token.empty()) throw Wrong();
        rest_.remove_prefix(token.size());
        return token;
    }

    void demand(std::string_view token) {
        if (take() != token) throw Wrong();
    }

    Fraction rule(int depth) {
        Fraction result = factor(depth);
        while (next() == "*" || next() == "/") {
            const bool divides = take() == "/";
            const Fraction by = factor(depth);
            if (divides && by.above == 0) throw Wrong();
            result = times(result, divides ? Fraction{by.below, by.above} : by);
        }
        return result;
    }

    Fraction factor(int depth) {
        const std::string_view token = take();
        if (digit(token[0])) {
            std::int64_t number = 0;
            for (const char c : token)
                if (__builtin_add_overflow(product(number, 10), c - '0', &number)) throw Wrong();
            return {number, 1};
        }
        if (token == "ceil") {
            if (depth == DEEPEST) throw Wrong();
            demand("(");
            const Fraction inside = rule(depth + 1);
            demand(")");
            return {inside.above / inside.below + (inside.above % inside.below > 0), 1};
        }
        const auto found = letter(token[0]) ? value_(token) : std::nullopt;
        if (!found || *found < 0) throw Wrong();
        return {*found, 1};
    }

    std::string_view rest_;
    const Value& value_;
};

}  // namespace

unsigned programs(const std::string& rule, const std::function<std::optional<std::int64_t>(std::string_view)>& value) {
    try {
        const Fraction result = Rule(rule, value).whole();
        if (result.below != 1 || result.above < 1 || result.above > LARGEST) throw Wrong();
        return static_cast<unsigned>(result.above);
    } catch (const Wrong&) {
        throw BundleError(text("the grid rule '", rule, "' of a kernel cannot be followed: build the bundle's kernels again"));
    }
}

}  // namespace shadowdiffusion
