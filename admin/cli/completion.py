"""`medfabric completion`: the script that makes a shell complete our commands."""

import click

from admin.cli.frame import Command, Context, with_context


@click.command(
    "completion",
    cls=Command,
    examples=[
        'eval "$(medfabric completion bash)"     # in ~/.bashrc',
        'eval "$(medfabric completion zsh)"      # in ~/.zshrc',
        "medfabric completion fish > ~/.config/fish/completions/medfabric.fish",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@with_context
def command(context: Context, shell: str) -> None:
    """Print the completion script for a SHELL."""
    from click.shell_completion import get_completion_class

    from admin.cli.root import cli

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "medfabric", "_MEDFABRIC_COMPLETE")
    # Written from the template itself: source() would first run bash to ask for its version.
    text = script.source_template % script.source_vars()
    context.output.result({"shell": shell, "script": text}, text)
