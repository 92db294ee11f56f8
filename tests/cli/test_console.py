"""Messages that are told once, through those that they wrap."""

from __future__ import annotations

from mambair_cli.cli.console import Messages, OnceOnly


class Renaming(Messages):
    """Messages that write something else than they are given, as those of a pipe do."""

    def print(self, text: str, style: str = "") -> None:
        super().print(text.replace("/scratch/input", "standard input"), style)


def test_what_is_told_once_goes_through_the_messages_that_are_wrapped(capsys):
    wrapped = Renaming(verbose=True, as_json=True)
    wrapped.lists_results = True
    once = OnceOnly(wrapped)
    for _ in range(2):
        once.notice("reading /scratch/input")
        once.detail("3 tags of /scratch/input")
    assert capsys.readouterr().err.splitlines() == [
        "reading standard input",
        "3 tags of standard input",
    ]
    assert (once.lists_results, once.verbose, once.as_json) == (True, True, True)
