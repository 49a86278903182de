"""`python -m training` in a checkout; installed, it is `shadowdiffusion train`."""

from shadowdiffusion.training.cli import main

if __name__ == "__main__":
    main()
