"""The group of commands; each lives in the file of its name."""

import click

from cclnn._version import __version__
from cclnn.cli.upscale import upscale


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Super-resolution for images."""


cli.add_command(upscale)
