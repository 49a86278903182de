// `shadowdiffusion-native`: every error becomes one line on stderr. Exit codes: 0 all is well, 1 some photos failed, 2
// bad usage, bundle or machine, 128 + N ended by signal N (130: Ctrl-C).

#include <clocale>
#include <exception>

#include "commands/console.h"
#include "commands/restore_command.h"

int main(int count, char** words) {
    using namespace shadowdiffusion;
    std::setlocale(LC_CTYPE, "");  // what `?` in a pattern takes for a character
    static Stop stop;              // signals may come until the end
    try {
        const auto options = parse(count, words);
        if (!options) return 0;
        stop_on_signals(stop);
        return restore(*options, stop);
    } catch (const std::exception& error) {
        complain(error.what());
        return 2;
    }
}
