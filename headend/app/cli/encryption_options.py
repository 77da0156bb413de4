"""Options of commands that encrypt titles or need their keys."""

from collections.abc import Callable
from fractions import Fraction
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from headend.app.cli.options import Command
from headend.app.cli.parameters import Duration, Seconds
from headend.core.codecs import media_codecs
from headend.core.errors import ConfigError
from headend.core.keys import open_keys
from headend.core.media import Codec, Scheme
from headend.core.media.protection import MAX_PERIODS
from headend.core.paths import expanded
from headend.core.settings import COPIED_CODECS, KeySettings, ProtectionSettings

DRM_SYSTEMS = ("clearkey", "widevine", "playready", "fairplay")
KEY_SOURCES = "FILE|env:NAME|cpix:FILE|speke+https://HOST/PATH"


def schemes(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[Scheme, ...]:
    """Parse a list of schemes; empty if the option is not given."""
    names = value.split(",") if value is not None else []
    if wrong := [scheme for scheme in names if scheme not in list(Scheme)]:
        raise click.BadParameter(f"{wrong[0]!r} is not a scheme: use {', '.join(Scheme)}, separated by commas.")
    return tuple(dict.fromkeys(map(Scheme, names)))


def _systems(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    systems = tuple(dict.fromkeys(value.split(",")))
    if wrong := [system for system in systems if system not in DRM_SYSTEMS]:
        raise click.BadParameter(
            f"{wrong[0]!r} is not a DRM system: use {', '.join(DRM_SYSTEMS)}, separated by commas."
        )
    return systems


def _codecs(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[Codec, ...]:
    codecs = [codec.codec for codec in media_codecs()]
    names = tuple(dict.fromkeys(value.split(",")))
    if wrong := [codec for codec in names if codec not in codecs]:
        raise click.BadParameter(f"{wrong[0]!r} is not a codec: use {', '.join(codecs)}, separated by commas.")
    return tuple(map(Codec, names))


def key_address_options(*, required: bool) -> Callable[[Command], Command]:
    """Add ``--keys`` and ``--cpix-key``, given to the command as ``keys_address`` and ``cpix_key``."""

    def add(command: Command) -> Command:
        command = click.option(
            "--keys", "keys_address", required=required, metavar=KEY_SOURCES, help="Source of the content keys."
        )(command)
        return click.option(
            "--cpix-key",
            metavar="FILE",
            help="Private key (PEM, readable by its owner only) that decrypts a CPIX document.",
        )(command)

    return add


def key_per(command: Command) -> Command:
    """Add ``--key-per``, given to the command as ``key_per``."""
    return click.option(
        "--key-per",
        type=click.Choice(["class", "all"]),
        default="class",
        show_default=True,
        help="One key each for sound, SD, HD and UHD, so that a licence can exclude some, or one key for all.",
    )(command)


def key_epoch(command: Command) -> Command:
    """Add ``--key-epoch``, given to the command as ``key_epoch``."""
    return click.option(
        "--key-epoch",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of the title's set of keys; raise it to give the title new keys.",
    )(command)


def key_periods(command: Command) -> Command:
    """Add ``--periods``, given to the command as ``periods``."""
    return click.option(
        "--periods",
        type=click.IntRange(1, MAX_PERIODS),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of successive keys of each class, for titles that are encrypted with --rotate.",
    )(command)


def key_settings_options(*, required: bool) -> Callable[[Command], Command]:
    """Add ``--keys`` and ``--cpix-key``; the command gets both as ``keys``, `KeySettings` or None."""

    def add(command: Command) -> Command:
        @key_address_options(required=required)
        @wraps(command)
        def wrapped(*, keys_address: str | None, cpix_key: str | None, **others: Any) -> Any:
            address = keys_address
            if address is None and cpix_key is not None:
                raise ConfigError("--cpix-key opens an encrypted CPIX document: add --keys cpix:FILE")
            keys = None if address is None else key_settings(address, cpix_key)
            return command(keys=keys, **others)

        return wrapped

    return add


def _first_typed(*names: str) -> str | None:
    """Return the first of some options that is given on the command line; None if there is none.

    Options from configuration files and the environment are ignored: they apply to all titles, and some of these
    may be encrypted.
    """
    ctx = click.get_current_context()
    typed = (param for param in ctx.command.params if param.name in names)
    return next(
        (param.opts[0] for param in typed if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE),
        None,
    )


def key_settings(address: str, cpix_key: str | None = None) -> KeySettings:
    """Parse a key source, and make its paths absolute, because workers run in other folders.

    Raises:
        ConfigError: The address is not a key source.
    """
    open_keys(address)
    scheme, colon, path = address.partition(":")
    if scheme == "cpix" and colon:
        address = f"cpix:{expanded(path)}"
    elif scheme != "env" and not address.startswith("speke+"):
        address = str(expanded(address))
    return KeySettings(address, None if cpix_key is None else str(expanded(cpix_key)))


def protection(*, required: bool) -> Callable[[Command], Command]:
    """Add the options of encryption; the command gets them as ``protection``, `ProtectionSettings` or None."""

    def add(command: Command) -> Command:
        @click.option(
            "--protect",
            "protection_schemes",
            required=required,
            callback=schemes,
            metavar="SCHEME,...",
            help="Encrypt sound and picture in cbcs, which all current DRM systems support, or in cenc. Further "
            "schemes add copies for old players: cenc, and aes-128 for HLS. Requires --keys.",
        )
        @key_settings_options(required=required)
        @key_per
        @key_epoch
        @click.option(
            "--drm",
            default="clearkey",
            show_default=True,
            callback=_systems,
            metavar="SYSTEM,...",
            help=f"DRM systems that manifests signal: {', '.join(DRM_SYSTEMS)}.",
        )
        @click.option(
            "--clear-lead",
            "lead_s",
            type=Seconds(),
            default="0",
            show_default=True,
            metavar="SECONDS",
            help="Leave the start unencrypted, so that playback can begin before the licence arrives; rounded up to "
            "whole segments. A copy in aes-128 has no clear lead.",
        )
        @click.option(
            "--rotate",
            "rotate_s",
            type=Duration(),
            metavar="TIME",
            help=f"Change keys at this interval, such as 30m; rounded up to whole segments, at most "
            f"{MAX_PERIODS} keys of each class. Requires 'headend keys new --periods N'. [default: never]",
        )
        @click.option(
            "--hdcp",
            is_flag=True,
            help="State the required output protection in HLS: none for SD, HDCP type 0 for HD, type 1 for UHD.",
        )
        @click.option(
            "--cenc-codecs",
            default=",".join(COPIED_CODECS),
            show_default=True,
            callback=_codecs,
            metavar="CODEC,...",
            help="Codecs of the copy in cenc, if the title has them.",
        )
        @wraps(command)
        def wrapped(
            *,
            protection_schemes: tuple[Scheme, ...],
            keys: KeySettings | None,
            key_per: str,
            key_epoch: int,
            drm: tuple[str, ...],
            cenc_codecs: tuple[Codec, ...],
            lead_s: Fraction,
            rotate_s: float | None,
            hdcp: bool,
            **others: Any,
        ) -> Any:
            _check_protection(protection_schemes, keys)
            settings = None
            if keys is not None:
                settings = ProtectionSettings(
                    protection_schemes,
                    keys,
                    key_per == "all",
                    key_epoch,
                    drm,
                    cenc_codecs,
                    lead_s,
                    Fraction(rotate_s or 0),
                    hdcp,
                )
            return command(protection=settings, **others)

        return wrapped

    return add


def _check_protection(wanted: tuple[Scheme, ...], keys: KeySettings | None) -> None:
    """Check that the options of encryption fit together.

    Raises:
        ConfigError: An option is missing, or works only with others; the message names it.
    """
    if bool(wanted) != (keys is not None):
        missing = "--keys, the source of its keys" if wanted else "--protect, the scheme, such as cbcs"
        raise ConfigError(f"to encrypt a title, add {missing}")
    if not wanted:
        typed = _first_typed("lead_s", "rotate_s", "hdcp", "key_per", "key_epoch", "drm", "cenc_codecs")
        if typed is not None:
            raise ConfigError(
                f"{typed} works only with encryption: add --protect, such as cbcs, and --keys, or remove {typed}"
            )
    elif wanted[0] is Scheme.AES_128:
        raise ConfigError(
            "aes-128 is for old HLS players only and can't be the first scheme: use --protect cbcs,aes-128"
        )
