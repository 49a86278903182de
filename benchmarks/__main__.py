"""`python -m benchmarks` in a checkout; installed, it is `shadowdiffusion bench`."""

from shadowdiffusion.benchmarks.cli import main

if __name__ == "__main__":
    main()
