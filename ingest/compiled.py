"""How this installation was built."""

from enrich import judge


def compiled() -> bool:
    """Whether what every reading passes through was compiled (setup.py tells how); the answers are the same."""
    return not str(judge.__file__).endswith(".py")
