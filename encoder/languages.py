"""Language tags in requests: check them and write them in canonical form."""

from langcodes import standardize_tag, tag_is_valid

from headend.core.errors import ConfigError


def standardized(tag: str, option: str) -> str:
    """Write a BCP 47 tag in its usual form.

    Args:
        tag: As it was given.
        option: The option that it was given by; named in the error.

    Raises:
        ConfigError: It is no tag, or names a language, script or region that does not exist.
    """
    if not tag_is_valid(tag):
        raise ConfigError(f"{option}: {tag!r} is no language; use tags such as en, pt-BR or zh-Hant")
    return standardize_tag(tag)
