"""Random programs over a handful of array names: the same text is meant to run with NumPy and with gpuxp.

A program is a list of statements. It is written while NumPy runs it, so the writer knows every shape and dtype, most
statements make sense, and those that raise are kept now and then to compare the error. All randomness comes from a
`Source`, so a seeded generator and Hypothesis (which shrinks) write programs in the same way.

What a statement may call besides the namespace ``np`` is listed in `running.environment`: ``read``, ``near``, ``host``,
``share``, ``layout``, ``evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy

from .running import Outcome, perform
from .writing import (
    ARITHMETIC,
    BINARY,
    BITS,
    DTYPES,
    INEXACT,
    NAMES,
    SCALARS,
    UNARY,
    Expressions,
    Options,
    Seeded,
    Source,
    Statement,
)  # fmt: skip


class Writer(Expressions):
    """Writes one program."""

    def __init__(self, source: Source, options: Options = Options()) -> None:
        super().__init__(source, options)
        self.statements: list[Statement] = []
        self.outcomes: list[Outcome] = []

    # Writing

    def write(self) -> list[Statement]:
        """Return a whole program."""
        for _ in range(self.between(1, 3)):
            self._emit(self._create)
        for _ in range(self.between(3, self.options.statements)):
            self._emit(self.pick(self._kinds()))
        for name in [n for n in (*NAMES, *SCALARS, "h") if n in self.env]:
            self._append(Statement(f"read({name})"))
        return self.statements

    def _kinds(self) -> Sequence[Callable[[], str | None]]:
        """Return the kinds of statements that make sense now, the simpler and more frequent ones first."""
        if not self.arrays():
            return (self._create,)
        kinds: list[Callable[[], str | None]] = [
            self._assign, self._inplace, self._setitem, self._view, self._assign, self._inplace, self._setitem,
            self._view, self._inplace, self._mask, self._advanced, self._reduce, self._output, self._delete,
            self._alias, self._read, self._reduce, self._create, self._scalar, self._join, self._burst, self._burst,
        ]  # fmt: skip
        if self.options.library:
            kinds += [self._library, self._advanced]
        if self.options.near:
            kinds.append(self._near)
        if self.options.shared:
            kinds.append(self._shared)
        return kinds

    def _emit(self, kind: Callable[[], str | None]) -> None:
        self.guards = []
        text = kind()
        if text is not None:
            self._put(text)

    def _put(self, text: str) -> None:
        """Run a statement under the guards noted, and keep it unless it is pointless."""
        statement = Statement(text, " and ".join(f"({g})" if " or " in g else g for g in dict.fromkeys(self.guards)))
        outcome = perform(statement, self.env)
        if outcome.skipped or (outcome.error is not None and not self.chance(20)):
            return
        self._keep(statement, outcome)

    def _append(self, statement: Statement) -> None:
        self._keep(statement, perform(statement, self.env))

    def _keep(self, statement: Statement, outcome: Outcome) -> None:
        self.statements.append(statement)
        self.outcomes.append(outcome)

    def _name(self) -> str:
        """Return a name to bind: a new one where there is one left."""
        free = [n for n in NAMES if n not in self.env]
        return free[0] if free and not self.chance(20) else self.pick(NAMES)

    # Statements

    def _create(self) -> str:
        shape, dtype = self.shape(), self.pick(DTYPES)
        count = int(numpy.prod(shape, dtype=int))
        name = self._name()
        roll = self.between(0, 9)
        if roll < 5:
            order = self.pick(("", "", ", order='F'"))
            return (
                f"{name} = np.arange({count}, dtype='{dtype}').reshape({shape}{order})"
                if dtype != "bool"
                else (f"{name} = (np.arange({count}) % 3 == 1).reshape({shape})")
            )
        if roll < 7:
            values = [self.between(-3, 5) for _ in range(min(count, 12))]
            return f"{name} = np.array({values}, dtype='{dtype if dtype[0] != 'u' else 'int64'}')"
        if roll < 8:
            return f"{name} = np.full({shape}, {self.number()}, '{dtype}')"
        if roll < 9 or not self.arrays():
            return f"{name} = np.{self.pick(('ones', 'zeros'))}({shape}, '{dtype}', order='{self.pick('CF')}')"
        other = self.view()
        return f"{name} = " + self.pick((
            f"np.zeros_like({other})", f"{other}.copy()", f"{other}.copy(order='K')", f"np.full_like({other}, 3)",
            f"np.array({other})", f"np.array({other}, order='F')", f"np.ones_like({other}, dtype='{dtype}')",
        ))  # fmt: skip

    def _assign(self) -> str:
        shape = numpy.shape(self.value(self.pick(self.arrays())))
        value = self.expression(shape, self.between(1, 3))
        return f"{self._name()} = {value}" if self.chance(85) else f"read(layout({value}))"

    def _inplace(self) -> str:
        target, shape = self.target()
        value = self.expression(shape, self.between(0, 2))
        op = self.pick(ARITHMETIC[:-1] + BITS[:1] + ("/",))
        self.guard(op, target, value)
        self.guards.append(f"isarray({target}) or fits({target} {op} {value}, {target}.dtype)")  # a[0] += nan
        return f"{target} {op}= {value}"

    def _setitem(self) -> str:
        target, shape = self.target()
        if "[" not in target:
            target += "[...]"
        value = self.expression(shape, self.between(0, 2))
        self.guards.append(f"fits({value}, {target}.dtype) and tidy({target}, {value})")
        return f"{target} = {value}"

    def _burst(self) -> None:
        """Write a few commands over equal loops, on parts of one or two arrays; then the same on other parts."""
        names = [n for n in self.arrays() if self.value(n).ndim and self.value(n).shape[0] > 1]
        if not names:
            return
        first = self.pick(names)
        shape = self.value(first).shape
        alike = [n for n in names if self.value(n).shape[0] >= shape[0] and self.value(n).shape[1:] == shape[1:]]
        second = self.pick([first, *alike])
        length = self.between(1, shape[0] // 2) if self.chance(60) else self.between(1, shape[0])
        other = self.pick([n for n in NAMES if n not in (first, second)])
        forms = [(self.between(0, 8), self.pick("+-*")) for _ in range(self.between(2, 4))]
        self._put("evaluate()")
        for time in range(self.between(1, 4)):
            for form, op in forms:
                self.guards = []
                halves = not time and 2 * length <= shape[0]
                self._put(self._part_command(form, op, (first, second, other), length, halves))
            if other in self.env and self.chance(25):
                self._put(f"del {other}")
            if not self.chance(30):
                self._put("evaluate()")

    def _part_command(self, form: int, op: str, names: tuple[str, str, str], length: int, halves: bool) -> str:
        """Return a command on parts of `length`; where they lie, and the constants, are free.

        With `halves` the part written lies in the first half of the array, and the parts read in the second.
        """
        first, second, other = names
        extent = self.value(first).shape[0]
        if halves:
            target = f"{first}[{self.slice(extent // 2, length)}]"
            source, more = (f"{n}[{extent // 2}:][{self.slice(extent - extent // 2, length)}]" for n in (second, first))
        else:
            target, source, more = (f"{n}[{self.slice(extent, length)}]" for n in (first, second, first))
        number = self.pick(("1", "2", "3"))
        if form < 2:
            self.guard(op, target, source)
            self.guards.append(f"fits({source}, {target}.dtype)")
            return f"{target} {op}= {source}"
        if form < 3:
            return f"{target} = {number}"
        if form < 4:
            self.guards.append(f"fits({source}, {target}.dtype) and tidy({target}, {source})")
            return f"{target} = {source}"
        if form < 6:
            text = {"+": f"{more} - {number}", "-": f"{number} - {more}", "*": f"{source} - {more}"}[op]
            return f"{other} = {text}"
        if form < 7:
            self.guards.append(f"ordered({source}, {target})")
            return f"np.maximum({source}, {number}, out={target}, casting='unsafe')"
        if form < 8:
            self.guards.append(f"fits(np.subtract({source}, {more}), {target}.dtype)")
            return f"np.subtract({source}, {more}, out={target}, casting='unsafe')"
        return f"{target} += {number}"

    def _view(self) -> str:
        name = self.pick(self.arrays())
        value = self.value(name)
        roll = self.between(0, 15)
        if roll < 7:
            found = f"{name}[{self.basic(value.shape)}]"
        elif roll < 10:
            found = f"{name}.reshape({self._factored(value.size)})"
        else:
            axes = list(range(value.ndim))
            turned = [axes.pop(self.between(0, len(axes) - 1)) for _ in range(value.ndim)]
            found = self.pick((
                f"{name}.T", f"{name}.transpose({turned})", f"np.flip({name})", f"{name}.ravel()",
                f"np.broadcast_to({name}, {(self.between(1, 3), *value.shape)})", f"{name}.real", f"{name}.imag",
                f"np.expand_dims({name}, {self.between(0, value.ndim)})", f"np.squeeze({name})", f"{name}.view()",
                f"np.diagonal({name})", f"np.swapaxes({name}, 0, -1)", f"np.moveaxis({name}, 0, -1)",
                f"{name}.reshape(-1, order='F')", f"{name}.view('{self.pick(('int64', 'uint8', 'int32', 'int8'))}')",
                f"{name}.swapaxes(0, 1)", f"np.atleast_2d({name})", f"np.rot90({name})",
            ))  # fmt: skip
            if ".view('" in found:
                self.guards.append(f"whole({name})")
        return f"{self._name()} = {found}"

    def _factored(self, size: int) -> tuple[int, ...]:
        if not size:
            return self.pick(((0,), (0, 2), (2, 0)))
        factors = [n for n in range(1, size + 1) if size % n == 0]
        first = self.pick(factors)
        roll = self.between(0, 3)
        return (first, size // first) if roll < 2 else (-1,) if roll < 3 else (size // first, 1, first)

    def _mask(self) -> str:
        name = self.pick(self.arrays())
        shape = self.value(name).shape
        mask = self.mask(shape) if self.chance(70) else self.mask(shape[:1])
        roll = self.between(0, 7)
        if roll < 3:
            number = self.number()
            self.guards.append(f"fits({number}, {name}.dtype)")
            return f"{name}[{mask}] = {number}"
        if roll < 4:
            return f"{name}[{mask}] {self.pick('+-')}= {self.number()}"
        if roll < 5:
            return f"{self._name()} = {name}[{mask}]"
        if roll < 6:
            other = self.expression(shape, 1)
            self.guards.append(f"fits({other}, {name}.dtype)")
            return f"np.copyto({name}, {other}, where={mask})"
        if roll < 7:
            other = self.fitting(shape)
            self.guards.append(f"fits({other}, {name}.dtype)")
            return f"{name}[{mask}] = np.broadcast_to({other}, {shape})[{mask}]"
        other = self.fitting(shape)
        self.guards.append(f"fits({other}, {name}.dtype)")
        return f"np.putmask({name}, {mask}, {other})"

    def _indices(self, extent: int) -> list[int]:
        if not extent:
            return []
        high = extent if self.chance(4) else extent - 1
        return [self.between(-extent, high) for _ in range(self.between(1, 5))]

    def _advanced(self) -> str | None:
        name = self.pick(self.arrays())
        shape = self.value(name).shape
        if not shape:
            return None
        first = self._indices(shape[0])
        key = f"np.array({first}, dtype='int64')" if self.chance(60) else str(first)
        if len(shape) > 1 and self.chance(50):
            second = (self._indices(shape[1]) * len(first))[: len(first)]
            key += f", {second}" if self.chance(50) else f", {self.slice(shape[1])}"
            if self.chance(20):
                key = f"{self.slice(shape[0])}, {second}"
        roll = self.between(0, 9)
        if roll < 3:
            return f"{self._name()} = {name}[{key}]"
        if roll < 6:
            value = self.fitting((len(first), *shape[1:])) if "," not in key or roll < 4 else self.number()
            self.guards.append(f"fits({value}, {name}.dtype)")
            return f"{name}[{key}] = {value}"
        if roll < 7:
            return f"{name}[{key}] += {self.number()}"
        if roll < 8:
            self.guards.append(f"exact({name}, 'add') and {name}.flags.writeable")  # NumPy's at() ignores the flag
            return f"np.{self.pick(('add', 'subtract'))}.at({name}, {first}, {self.between(1, 3)})"
        if roll < 9:
            return f"{self._name()} = np.take({name}, {first}, axis={self.pick((0, 'None', -1))}, mode='clip')"
        return f"{self._name()} = np.take_along_axis({name}, np.argsort({name}, axis=0, kind='stable'), axis=0)"

    def _axis(self, ndim: int) -> str:
        options: list[object] = [None, *range(ndim), -1]
        if ndim > 1:
            options += [(0, 1), (0, ndim - 1)]
        if self.chance(3):
            options = [ndim + 1]
        return repr(self.pick(options))

    def _reduce(self) -> str:
        source = self.view() if self.chance(60) else self.expression(self.value(self.pick(self.arrays())).shape, 1)
        ndim = max(self.value(n).ndim for n in self.arrays())
        axis = self._axis(ndim)
        name = self.pick(("sum", "sum", "prod", "max", "min", "any", "all", "count_nonzero", "argmax", "argmin"))
        more = f", keepdims={self.pick((True, False))}" if self.chance(30) else ""
        if name in ("sum", "prod"):
            op = "add" if name == "sum" else "multiply"
            self.guards.append(f"exact({source}, '{op}')")
            more += f", dtype='{self.pick(('int64', 'float64', 'complex128'))}'" if self.chance(10) else ""
            if "dtype" in more:
                self.guards.append(f"exact(np.asarray({source}).astype('float64'), '{op}')")
            more += f", initial={self.between(1, 3)}" if self.chance(10) else ""
        if name in ("max", "min", "argmax", "argmin"):
            self.guards.append(f"ordered({source}, 0)")
        if name in ("max", "min") and self.chance(15):
            more += f", initial={self.between(0, 3)}"
        if name in ("sum", "prod", "max", "min", "any", "all") and self.chance(12):
            more += f", where={self.mask(self.value(self.pick(self.arrays())).shape)}"
        return f"{self._name()} = np.{name}({source}, axis={axis}{more})"

    def _output(self) -> str:
        target, shape = self.target()
        name = self.pick(BINARY + UNARY)
        args = [self.expression(shape, self.between(0, 1)) for _ in range(2 if name in BINARY else 1)]
        if name in ("greater", "equal", "not_equal"):
            self.guards.append(f"held({', '.join(args)})")
        self.guard(name, *args)
        self.guards.append(f"fits(np.{name}({', '.join(args)}), {target}.dtype)")
        self.guards.append(f"isarray({target})")  # our 0-d results are arrays, NumPy's scalars cannot be an output
        more = ""
        if self.chance(40):
            more = f", where={self.mask(shape)}"
            if name in ("greater", "equal", "not_equal"):  # NumPy 2.4 crashes on Python integers out of range
                args = [f"np.int64({a})" if a.lstrip("-").isdigit() else a for a in args]
            self.guards.append(f"apart({target}, {', '.join(args)}, {more[8:]})")  # NumPy's own result is wrong there
        more += ", casting='unsafe'" if self.chance(20) else ""
        call = f"np.{name}({', '.join(args)}, out={target}{more})"
        return call if self.chance(70) else f"{self._name()} = {call}"

    def _delete(self) -> str | None:
        names = [n for n in (*NAMES, *SCALARS, "h") if n in self.env]
        return f"del {self.pick(names)}" if len(self.arrays()) > 2 else None

    def _alias(self) -> str:
        name = self.pick(self.arrays())
        return f"{self._name()} = {name}" + self.pick(("", "[...]", "", "[:]"))

    def _scalar(self) -> str:
        name = self.pick(self.arrays())
        value = self.value(name)
        place = ", ".join(str(self.between(0, max(n - 1, 0))) for n in value.shape)
        other = self.pick(SCALARS)
        bound = [n for n in SCALARS if n in self.env]
        if bound and self.chance(30):
            return f"{self.pick(bound)} {self.pick('+-*')}= {self.between(1, 3)}"
        self.guards.append(f"exact({name}, 'add') and small({name})")
        return f"{other} = " + self.pick((f"{name}[{place}]", f"{name}.item({place})", f"{name}.sum()", *bound))

    def _join(self) -> str:
        first, second = self.view(), self.view()
        self.guards.append(f"np.ndim({first}) > 0")  # NumPy's tril of a 0-d array breaks with an accidental error
        return f"{self._name()} = " + self.pick((
            f"np.concatenate([{first}, {second}])", f"np.stack([{first}, {first}], axis={self.between(0, 1)})",
            f"np.roll({first}, {self.between(-2, 3)})", f"np.tile({first}, {self.between(1, 2)})",
            f"np.repeat({first}, {self.between(1, 2)}, axis={self.pick((0, None))})", f"np.diff({first})",
            f"np.tril({first})", f"np.concatenate([{first}, {second}], axis=None)", f"np.triu({first}, 1)",
            f"np.roll({first}, 1, axis=0)", f"np.outer({first}, [1, 2])", f"np.hstack([{first}, {first}])",
        ))  # fmt: skip

    def _library(self) -> str:
        first, second = self.view(), self.view()
        self.guards.append(f"ordered({first}, 0)")
        roll = self.between(0, 9)
        if roll < 3:
            self.guards.append(f"exact({first}, 'add')")
            return f"{self._name()} = np.cumsum({first}, axis={self.pick((0, None, -1))})"
        if roll < 6:
            self.guards.append(f"dots({first}, {second}) and isarray({first})")  # NumPy's scalars have no @
            return f"{self._name()} = " + self.pick((f"{first} @ {second}", f"np.matmul({first}, {first}.T)"))
        if roll < 7:
            name = self.pick(self.arrays())
            self.guards.append(f"ordered({name}, 0)")
            return f"{name}.sort()"
        return f"{self._name()} = " + self.pick((
            f"np.sort({first}, axis={self.pick((-1, 0))})", f"np.argsort({first}, kind='stable')",
            f"np.unique({first})", f"np.nonzero({first})[0].copy()", f"np.sort({first}, axis=None)",
            f"np.flip(np.sort({first}))", f"np.searchsorted([1, 2, 3], {first})",
        ))  # fmt: skip

    def _read(self) -> str:
        name = self.pick(self.arrays())
        return self.pick((
            f"read({self.view()})", f"read({name}.tolist())", f"read(bool(({name} > 1).any()))", "evaluate()",
            f"read({name}.shape)", f"read(repr({name}.dtype))", f"read(np.asarray({name}))", f"read(len({name}))",
            f"read({name}.tobytes() if {name}.dtype.kind in 'biu' else 0)", f"read({name}.flags.writeable)",
        ))  # fmt: skip

    def _near(self) -> str:
        source = self.view()
        if self.chance(50):
            name = self.pick(INEXACT)
            self.guards.append(f"mild({source})")
            return f"near(np.{name}({source}), 'ulp', {source})"
        self.guards.append(f"finite({source}, 0) and small({source})")
        name = self.pick(("sum", "mean", "var", "std"))
        if name in ("var", "std"):
            self.guards.append(f"{source}.dtype != 'float16'")  # NumPy adds squares in float16 and overflows
        return f"near(np.{name}({source}, axis={self._axis(1)}), '{name}', {source})"

    def _shared(self) -> str:
        roll = self.between(0, 9)
        name = self.pick(self.arrays())
        if roll < 2 or "h" not in self.env:
            return f"h = host({self.view()})"
        if roll < 5:
            return self.pick((
                "np.add(share(h)[1:], share(h)[:-1], out=share(h)[1:], casting='unsafe')",
                "np.negative(share(h), out=share(h[::-1]))", "np.subtract(share(h), 1, out=share(h))",
            ))  # fmt: skip
        if roll < 7:
            return self.pick(("h[...] = 2", "h += 1", "h[::2] = 3", "h[1:] = h[:-1].copy()", "h[..., 0] = 7"))
        if roll < 9:
            return f"{self._name()} = share(h)"
        return self.pick((f"{name} += h", f"{name}[...] = h", f"read({name} + h)"))


def write_program(source: Source, options: Options = Options()) -> Writer:
    """Return a writer that has written a program (its statements, and what NumPy made of them)."""
    writer = Writer(source, options)
    writer.write()
    return writer


__all__ = ["Options", "Seeded", "Source", "Statement", "Writer", "write_program"]
