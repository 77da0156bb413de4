"""Check language tags in requests, and convert them to canonical form."""

from langcodes import standardize_tag, tag_is_valid

from headend.core.errors import ConfigError


def standardized(tag: str, option: str) -> str:
    """Convert a BCP 47 tag to its canonical form.

    Args:
        tag: The tag from the request.
        option: The option with which it was given; named in the error.

    Raises:
        ConfigError: The tag is malformed, or its language, script or region does not exist.
    """
    if not tag_is_valid(tag):
        raise ConfigError(f"{option}: {tag!r} is not a language tag; use tags such as en, pt-BR or zh-Hant")
    return standardize_tag(tag)
