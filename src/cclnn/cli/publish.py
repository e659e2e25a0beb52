"""`cclnn publish`: upload a model folder to a repository on the Hub."""

from pathlib import Path

import click

from cclnn.cli._errors import in_one_line


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repository private if it does not exist yet.")
@click.option("--message", help="Commit message.  [default: Upload with cclnn]")
@click.option("--dry-run", is_flag=True, help="Check the folder and list what would be uploaded; needs no network.")
def publish(folder: Path, repo: str, private: bool, message: str | None, dry_run: bool) -> None:
    """Upload the model in FOLDER to REPO (org/name) on the Hub, in one commit.

    The command loads the folder first, to make sure that others can. Log in once with `hf auth login`.

    \b
    Example: cclnn publish my-model me/my-model --private
    """
    from cclnn.pretrained.publishing import plan_upload
    from cclnn.pretrained.publishing import publish as upload

    with in_one_line():
        files = plan_upload(folder, repo)
        for file in files:
            click.echo(f"{file.path.name}  {file.size:,} bytes  sha256 {file.sha256}")
        if dry_run:
            click.echo(f"would upload {len(files)} files to {repo}{' (private)' if private else ''}")
            return
        click.echo(f"uploaded; load it with cclnn.load({upload(folder, repo, private=private, message=message)!r})")
