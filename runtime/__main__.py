"""`python -m runtime` in a checkout; installed, it is `shadowdiffusion`."""

from shadowdiffusion.runtime.commands.cli import main

if __name__ == "__main__":
    main()
