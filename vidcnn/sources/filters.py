"""Which rows of a list in Parquet are meant: a condition on its columns, as a user writes it.

From text such as ``duration_seconds > 5 and not is_encrypted`` to an expression of Arrow. Nothing of the text is run:
it is read as Python reads an expression, and all but these is refused::

    and  or  not  ( )                      between conditions
    ==  !=  <  <=  >  >=                   of a column and a value, or of two columns
    in ("h264", "hevc")   not in (...)     one of some values
    is null   is not null                  whether there is a value
    readable                               a column of yes and no, as it is

Values are numbers, texts in quotes, ``true`` and ``false``; a time is a text such as ``"2026-01-31"``. What is compared
with null is neither true nor false, as in SQL, so such rows are left out.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vidcnn.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CHARACTERS = 10_000
_MOST_NODES = 500
_NULLS = ("null", "none")
_WORDS = {"true": True, "false": False}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_HINT = 'such as: duration_seconds > 5 and not is_encrypted and video_codec in ("h264", "hevc")'


class Filter:
    """A condition on the columns of a table.

    Args:
        text: As a user writes it.

    Attributes:
        columns: The columns that it names.

    Raises:
        UsageError: It is no condition.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _MOST_CHARACTERS:
            raise UsageError(f"--where is longer than {_MOST_CHARACTERS:,} characters", "put the rows into a list")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise self._refuse("it cannot be read; equal is ==, and texts are in quotes") from error
        nodes = list(ast.walk(self._tree))
        if len(nodes) > _MOST_NODES:
            raise self._refuse(f"it has more than {_MOST_NODES} parts")
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        self.columns = sorted(name for name in names if name.lower() not in (*_NULLS, *_WORDS))

    def expression(self, schema: pa.Schema) -> Any:
        """Return the condition for tables of a schema, as an expression of Arrow.

        Raises:
            UsageError: A column is not there, or cannot be compared so.
        """
        import pyarrow as pa

        for name in self.columns:
            if name not in schema.names:
                close = difflib.get_close_matches(name, schema.names, n=1)
                meant = f"did you mean {close[0]}?" if close else f"its columns are {', '.join(schema.names)}"
                raise UsageError(f"--where names '{name}', which is no column of the list", meant)
        try:
            condition = self._condition(self._tree, schema)
            schema.empty_table().filter(condition)
        except (pa.ArrowException, TypeError) as error:
            raise self._refuse("its columns and values are of kinds that cannot be compared so") from error
        return condition

    def _condition(self, node: ast.expr, schema: pa.Schema) -> Any:
        match node:
            case ast.BoolOp(op, values):
                conditions = [self._condition(value, schema) for value in values]
                whole = conditions[0]
                for one in conditions[1:]:
                    whole = whole & one if isinstance(op, ast.And) else whole | one
                return whole
            case ast.UnaryOp(ast.Not(), inner):
                return ~self._condition(inner, schema)
            case ast.Compare(left, operators, others):
                whole = None
                for sign, other in zip(operators, others, strict=True):
                    one = self._comparison(left, sign, other, schema)
                    whole, left = one if whole is None else whole & one, other
                return whole
            case ast.Name(name) if name in self.columns:
                return self._operand(node, None, schema)
        raise self._refuse(f"'{ast.unparse(node)}' is no condition")

    def _comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr, schema: pa.Schema) -> Any:
        if isinstance(sign, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Name | ast.Constant) and ast.unparse(right).lower() in _NULLS):
                raise self._refuse("only null can follow is")
            is_null = self._operand(left, None, schema).is_null()
            return is_null if isinstance(sign, ast.Is) else ~is_null
        columns = [one.id for one in (left, right) if isinstance(one, ast.Name) and one.id in self.columns]
        if not columns:
            raise self._refuse(f"'{ast.unparse(left)}' is compared with no column")
        kind = schema.field(columns[0]).type
        if isinstance(sign, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List):
                raise self._refuse('in takes values in brackets after a column, such as in ("h264", "hevc")')
            column = self._operand(left, kind, schema)
            is_in = column.isin([self._value(one, kind) for one in right.elts])
            return (is_in if isinstance(sign, ast.In) else ~is_in) & column.is_valid()
        return _COMPARISONS[type(sign)](self._operand(left, kind, schema), self._operand(right, kind, schema))

    def _operand(self, node: ast.expr, kind: pa.DataType | None, schema: pa.Schema) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not (isinstance(node, ast.Name) and node.id in self.columns):
            return pc.scalar(self._value(node, kind))
        own = schema.field(node.id).type
        return pc.field(node.id).cast(own.value_type) if pa.types.is_dictionary(own) else pc.field(node.id)

    def _value(self, node: ast.expr, kind: pa.DataType | None) -> Any:
        """Return a value that is written out, as it is compared with a column of a kind."""
        import pyarrow as pa

        match node:
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)) if not isinstance(number, bool):
                return -number
            case ast.Constant(str() as text) if kind is not None and pa.types.is_timestamp(kind):
                try:
                    moment = datetime.fromisoformat(text)
                except ValueError as error:
                    raise self._refuse(f"'{text}' is no time such as 2026-01-31") from error
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return pa.scalar(moment if kind.tz else moment.astimezone(UTC).replace(tzinfo=None), kind)
            case ast.Constant(bool() | int() | float() | str() as value):
                return value
            case ast.Name(word) if word.lower() in _WORDS:
                return _WORDS[word.lower()]
        raise self._refuse(f"'{ast.unparse(node)}' is no value; texts are in quotes")

    def _refuse(self, reason: str) -> UsageError:
        return UsageError(f"--where '{self.text}' is no condition on columns: {reason}", _HINT)
