"""`python -m export` in a checkout; installed, it is `shadowdiffusion export`."""

from shadowdiffusion.export.commands.cli import main

if __name__ == "__main__":
    main()
