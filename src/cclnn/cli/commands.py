"""The group of commands; each command is defined in the file of its name."""

import click

from cclnn._version import __version__
from cclnn.cli.attribute import attribute
from cclnn.cli.compare import compare
from cclnn.cli.convert import convert
from cclnn.cli.evaluate import evaluate
from cclnn.cli.export import export
from cclnn.cli.info import info
from cclnn.cli.list import list_command
from cclnn.cli.publish import publish
from cclnn.cli.upscale import upscale


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Upscale images, and measure, convert and publish super-resolution models."""


cli.add_command(convert)
cli.add_command(attribute)
cli.add_command(compare)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(info)
cli.add_command(list_command)
cli.add_command(publish)
cli.add_command(upscale)
