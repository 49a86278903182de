"""`python -m runtime`, which is also the command `shadowdiffusion`."""

from runtime.commands.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
