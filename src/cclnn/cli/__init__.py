"""The `cclnn` command. torch is imported by the command that needs it, so that --help is instant."""

import sys


def main() -> None:
    """Entry point of the console script."""
    try:
        from cclnn.cli.commands import cli
    except ImportError as error:
        if error.name in ("click", "tqdm", "PIL"):
            sys.exit(f'the cclnn command needs {error.name}: pip install "cclnn[cli]"')
        raise
    cli(prog_name="cclnn")
