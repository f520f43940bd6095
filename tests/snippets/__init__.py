"""What stands in the docs: blocks of code, and the commands in them; and tests that all of it is true."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache

from tests.commands import PROJECT

PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((PROJECT / "docs").glob("*.md"))))
SHELLS = ("console", "bash", "sh")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SIGNS = {"|", "||", "&", "&&", ";", "(", ")"}


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: The file.
        line: Its first line in the file, the fence; from 1.
        language: What the fence says; empty where it says nothing.
        text: What stands between the fences.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block.

    Attributes:
        block: The block.
        text: What is typed, of one line or several.
        output: What the page shows of its output; empty where it shows none.
    """

    block: Block
    text: str
    output: str

    def __str__(self) -> str:
        return f"{self.block}: {self.text}"

    def words(self) -> list[list[str]]:
        """Return the words of each program that is called, without variables and redirections."""
        lexer = shlex.shlex(self.text.replace("\\\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        calls: list[list[str]] = [[]]
        tokens = iter(lexer)
        for token in tokens:
            if token in _SIGNS:
                calls.append([])
            elif token in (">", ">>", "<"):
                next(tokens)
            elif calls[-1] or not _ASSIGNMENT.match(token):
                calls[-1].append(token)
        return [call for call in calls if call]


@cache
def blocks() -> tuple[Block, ...]:
    """Return all blocks of the docs, in the order in which they stand there."""
    return tuple(block for page in PAGES for block in blocks_of(page, (PROJECT / page).read_text()))


def blocks_of(page: str, text: str) -> list[Block]:
    """Return the blocks of a page."""
    found: list[Block] = []
    begun: tuple[int, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if begun is not None and line.strip() == "```":
            found.append(Block(page, *begun, "".join(f"{one}\n" for one in inside)))
            begun, inside = None, []
        elif begun is not None:
            inside.append(line)
        elif line.lstrip().startswith("```"):
            begun = number, line.strip().removeprefix("```")
    assert begun is None, f"{page}:{begun}: the block has no end"
    return found


def commands() -> list[Command]:
    """Return all commands of the docs, in the order in which they stand there."""
    return [command for block in blocks() for command in commands_of(block)]


def commands_of(block: Block) -> list[Command]:
    """Return the commands of a block; in a console they begin with a prompt, and what does not is output."""
    if block.language not in SHELLS:
        return []
    is_console = block.language == "console"
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if found and not _is_whole("\n".join(found[-1][0])):
            found[-1][0].append(line)
        elif not is_console:
            found.append(([line], []))
        elif line.startswith("$ "):
            found.append(([line.removeprefix("$ ")], []))
        else:
            assert found, f"{block}: output without a command"
            found[-1][1].append(line)
    return [Command(block, "\n".join(text), "\n".join(output)) for text, output in found]


def _is_whole(text: str) -> bool:
    """Tell whether a command ends here: no quote is open, and no line follows."""
    try:
        shlex.split(text)
    except ValueError:
        return False
    return not text.endswith("\\")
