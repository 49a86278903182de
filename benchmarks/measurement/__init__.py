"""What every benchmark measures with: clocks, statistics, the machine it ran on, and where results are kept."""
