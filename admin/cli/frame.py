"""The frame every command stands in: common options on both sides, help that teaches, one exit.

    @group.command(examples="medfabric ledger show --as UnitedPayer/admin")
    @channel_option
    @with_context
    def show(context: Context, channel: str | None) -> None: ...

The common options (`--network`, `--as`, `--json`, `-q`, `-v`) may stand before or after the
subcommand; the last one given counts.
"""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import update_wrapper
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn, TypeVar

import click

from admin.cli.context import Context
from admin.errors import ExitCode, Fault, FaultError, to_fault
from admin.output import Output

Function = TypeVar("Function", bound=Callable[..., Any])

HELP_NAMES = ["-h", "--help"]


# Common options


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    source = context.get_parameter_source(parameter.name or "")
    if source is not click.core.ParameterSource.DEFAULT:
        name = parameter.name or ""
        setattr(get_context(context), name.removeprefix("common_"), value)
    return value


def _common_options() -> list[click.Option]:
    """Fresh options for one command."""

    def option(*names: str, **keywords: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_store, **keywords)

    return [
        option(
            "common_network",
            "--network",
            metavar="PATH",
            type=click.Path(),
            help="The network file [MEDFABRIC_NETWORK; else network.yaml here or above].",
        ),
        option(
            "common_identity",
            "--as",
            metavar="ORG/USER",
            shell_complete=_complete_identity,
            help="Who acts [MEDFABRIC_IDENTITY; else what 'identity use' chose].",
        ),
        option("common_json", "--json", is_flag=True, help="Print one JSON document."),
        option("common_quiet", "-q", "--quiet", is_flag=True, help="Print the result only."),
        option("common_verbose", "-v", "--verbose", is_flag=True, help="Print details too."),
    ]


def _complete_identity(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[Any]:
    from click.shell_completion import CompletionItem

    try:
        known = get_context(context).wallet.identities()
    except Exception:
        return []  # completion must never fail
    return [
        CompletionItem(one.name) for one in known if one.name.lower().startswith(incomplete.lower())
    ]


def get_context(context: click.Context) -> Context:
    """What this run of the program knows; made on first use."""
    root = context.find_root()
    if not isinstance(root.obj, Context):
        root.obj = Context()
    return root.obj


def with_context(function: Function) -> Function:
    """The function's first argument is the `Context`."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        return function(get_context(click.get_current_context()), *arguments, **keywords)

    return update_wrapper(call, function)  # type: ignore[return-value]


# Options that several commands share


def channel_option(function: Function) -> Function:
    """`--channel`: a channel of the network; the first one when not given."""
    return click.option(
        "--channel", "-c", metavar="NAME", help="The channel [the network's first]."
    )(function)


def yes_option(function: Function) -> Function:
    """`--yes`: do not ask."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")(function)


def dry_run_option(function: Function) -> Function:
    """`--dry-run`: say what would change, and change nothing."""
    return click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")(
        function
    )


def timeout_option(function: Function) -> Function:
    """`--timeout`: seconds for the whole act."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        metavar="SECONDS",
        help="Give up after so long.",
    )(function)


# Commands and groups


class _Common:
    """Adds the common options and examples to a command."""

    def __init__(self, *arguments: Any, examples: str | Sequence[str] = (), **keywords: Any):
        self.examples = [examples] if isinstance(examples, str) else list(examples)
        settings = keywords.setdefault("context_settings", {})
        settings.setdefault("help_option_names", HELP_NAMES)
        settings.setdefault("max_content_width", 100)
        super().__init__(*arguments, **keywords)
        self.common = _common_options()
        self.params: list[click.Parameter]
        self.params.extend(self.common)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        own = [
            record
            for parameter in self.get_params(context)  # type: ignore[attr-defined]
            if isinstance(parameter, click.Option)  # arguments are told in the text
            and parameter not in self.common
            and (record := parameter.get_help_record(context)) is not None
        ]
        if isinstance(self, click.Group):
            self.format_commands(context, formatter)
        if own:
            with formatter.section("Options"):
                formatter.write_dl(own)
        common = [record for one in self.common if (record := one.get_help_record(context))]
        with formatter.section("Common options (before or after the command)"):
            formatter.write_dl(common)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        super().format_epilog(context, formatter)  # type: ignore[misc]


class Command(_Common, click.Command):
    """A command with the common options."""


class Group(_Common, click.Group):
    """A noun: its verbs are commands. Unknown verbs are met with the nearest one."""

    command_class = Command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs with their whole first sentence."""
        rows = []
        for name in self.list_commands(context):
            command = self.get_command(context, name)
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit=200)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called, or a usage error that names the nearest one."""
        name = arguments[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            names = self.list_commands(context)
            near = get_close_matches(name, names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."
            context.fail(f"{context.command_path} has no {name!r}. {hint}")
        return super().resolve_command(context, arguments)


class LazyGroup(Group):
    """A group whose members are imported when they are used."""

    def __init__(self, *arguments: Any, members: Sequence[tuple[str, str, str]], **keywords: Any):
        super().__init__(*arguments, **keywords)
        self._members = {name: (module, told) for name, module, told in members}

    def list_commands(self, context: click.Context) -> list[str]:
        """Names in the order of the tuple, those whose module is there."""
        return [name for name, (module, _) in self._members.items() if _exists(module)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The member's command, imported now."""
        if name not in self._members or not _exists(self._members[name][0]):
            return None
        module = import_module(self._members[name][0])
        command: click.Command = getattr(module, "group", None) or module.command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and their sentences, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self._members[name][1]) for name in self.list_commands(context)]
            )


def _exists(module: str) -> bool:
    return find_spec(module) is not None


# The one way out


class Root(LazyGroup):
    """The program: every failure leaves here, with its exit code."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Runs a command line and exits; 0 is done, the rest as `ExitCode` says."""
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            ended = super().main(
                arguments, prog_name or "medfabric", standalone_mode=False, **extra
            )
            # click hands back the code of `Context.exit`, and otherwise what the command returned.
            code = ended if isinstance(ended, int) else 0
        except click.exceptions.Exit as ending:
            code = ending.exit_code
        except _ReaderGone:
            _silence()
            code = 0
        except (Exception, KeyboardInterrupt) as failure:
            code = _fail(failure, arguments)
        sys.exit(code)

    def invoke(self, context: click.Context) -> Any:
        """Runs the command; what click would print or exit for by itself leaves as ours."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            raise _Interrupted from None
        except BrokenPipeError:
            raise _ReaderGone from None


class _Interrupted(Exception):
    """Ctrl-C."""


class _ReaderGone(Exception):
    """Whoever read our output has closed it."""


def _fail(failure: BaseException, arguments: Sequence[str]) -> int:
    output = _output_of(failure, arguments)
    fault = _from_click(failure) or to_fault(failure)
    output.fault(fault)
    if output.verbose and fault.exit_code is ExitCode.BUG:
        import traceback

        traceback.print_exception(failure)
    return int(fault.exit_code)


def _from_click(failure: BaseException) -> Fault | None:
    if isinstance(failure, click.Abort | _Interrupted):
        return to_fault(KeyboardInterrupt())
    if isinstance(failure, click.FileError):
        return Fault(ExitCode.INVALID, "no-such-file", failure.message, failure.ui_filename)
    if isinstance(failure, click.UsageError):
        path = failure.ctx.command_path if failure.ctx else "medfabric"
        return Fault(ExitCode.USAGE, "usage", failure.format_message(), "", f"see: {path} --help")
    if isinstance(failure, click.ClickException):
        return Fault(ExitCode.USAGE, "usage", failure.format_message())
    return None


def _output_of(failure: BaseException, arguments: Sequence[str]) -> Output:
    """How to print a failure; also when it came before the options were read."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return Output(
        json="--json" in before,
        quiet=False,
        verbose="--verbose" in before or "-v" in before,
    )


def _silence() -> None:
    """Whoever read our output has gone: nothing more is written, not even at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__ = [
    "Command",
    "Context",
    "FaultError",
    "Group",
    "LazyGroup",
    "Root",
    "channel_option",
    "dry_run_option",
    "get_context",
    "timeout_option",
    "with_context",
    "yes_option",
]
