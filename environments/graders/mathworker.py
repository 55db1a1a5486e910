"""The algebra, in a process of its own that can be killed: one question a line in, one verdict a line out.

Run by path, so it imports nothing of ours. math-verify judges; what is added is the reading of Python's
spelling (`sqrt(2)`, `x**2 + 1`) without ever evaluating it as Python, and exactness: a short decimal
is the fraction it spells, a machine's float must agree to nine digits, where math-verify would round to six.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from typing import Any

CPU_SECONDS = 5
MEMORY = 2 << 30
MACHINE_DIGITS = 10
TOLERANCE = 1e-9

_OPERATORS = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.Div: "Div", ast.Pow: "Pow", ast.Mod: "Mod"}
_FUNCTIONS = frozenset(
    """sqrt cbrt root exp log ln sin cos tan cot sec csc asin acos atan sinh cosh tanh Abs abs floor ceiling factorial
    binomial gcd lcm Rational Integer re im conjugate sign Mod""".split()  # noqa: SIM905
)
_MODULES = ("math", "sympy", "sp", "np", "numpy")


def main(parent: int) -> None:
    _confine(parent)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Whatever a library prints must not pass for a verdict.
    for line in sys.stdin:
        question = json.loads(line)
        _allow_cpu(CPU_SECONDS)
        replies.write(json.dumps(_verdict(question["gold"], question["answer"])) + "\n")
        replies.flush()


def _confine(parent: int) -> None:
    """Bound memory, and die with the host even when it is killed in the middle of a question."""
    import resource

    if sys.platform == "linux":
        import ctypes

        parent_death_signal, kill = 1, 9
        ctypes.CDLL(None).prctl(parent_death_signal, kill)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.getppid() != parent:
        sys.exit()


def _allow_cpu(seconds: int) -> None:
    """CPU and not wall time: a verdict must not depend on how busy the machine is."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _verdict(gold: str, answer: str) -> dict[str, object]:
    try:
        import math_verify  # noqa: F401
    except ImportError as error:
        return {"fault": str(error)}
    try:
        return {"equal": equal(gold, answer)}
    except (MemoryError, RecursionError, OverflowError) as error:
        return {"equal": False, "note": f"too much for the algebra ({type(error).__name__})"}


def equal(gold: str, answer: str) -> bool:
    from math_verify import verify

    one, other = read(gold), read(answer)
    if one is None or other is None:
        return False
    if _is_relation(one) != _is_relation(other):
        return False  # math-verify would take `x^2 - 4 = 0` for 0.
    if _inexact(one) or _inexact(other):
        return _close(one, other)
    return bool(verify([one], [other], timeout_seconds=None))


def read(text: str) -> Any:
    """A sympy object, or None for what neither Python's nor LaTeX' grammar takes."""
    found = None if re.search(r"[\\{}_]", text) else _from_python(text)
    if found is None:
        found = _from_latex(text)
    return None if found is None else _unified(found)


def _from_latex(text: str) -> Any:
    from math_verify import LatexExtractionConfig, parse

    text = re.sub(r"(?<![A-Za-z\\])(pi|sqrt|sin|cos|tan|log|ln)(?![A-Za-z])", r"\\\1 ", text)
    text = re.sub(r"\*\*\s*\(([^()]*)\)", r"^{\1}", text).replace("**", "^").replace("*", r"\cdot ")
    text = re.sub(r"(\d+(?:\.\d+)?)\s*°", r"\\frac{\1\\pi}{180}", text)
    config = LatexExtractionConfig(boxed_match_priority=0)
    found = parse(rf"\boxed{{{text}}}", [config], fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def _unified(expression: Any) -> Any:
    """One assumption for every symbol, `i` the imaginary unit, short decimals exact."""
    import sympy

    if not isinstance(expression, sympy.Basic):
        return expression
    known = {"i": sympy.I, "e": sympy.E}
    new = {symbol: known.get(symbol.name, sympy.Symbol(symbol.name, real=True)) for symbol in expression.free_symbols}
    for decimal in expression.atoms(sympy.Float):
        digits = str(decimal).rstrip("0")
        if len(re.sub(r"[eE].*|\D", "", digits).lstrip("0")) < MACHINE_DIGITS:
            new[decimal] = sympy.Rational(str(decimal))
    return expression.xreplace(new)


def _is_relation(expression: Any) -> bool:
    import sympy

    return isinstance(expression, (sympy.core.relational.Relational, sympy.And))


def _inexact(expression: Any) -> bool:
    import sympy

    return isinstance(expression, sympy.Basic) and expression.has(sympy.Float) and not expression.free_symbols


def _close(one: Any, other: Any) -> bool:
    import sympy

    if not all(isinstance(side, sympy.Expr) and not side.free_symbols for side in (one, other)):
        return False
    first, second = sympy.N(one, 20), sympy.N(other, 20)
    if not (first.is_number and second.is_number and first.is_finite and second.is_finite):
        return False
    return bool(abs(first - second) <= TOLERANCE * max(abs(first), abs(second)))


# -- Python's spelling ---------------------------------------------------------------------------


def _from_python(text: str) -> Any:
    """By walking the syntax tree: nothing a teacher wrote is ever called by a name of its choosing."""
    try:
        tree = ast.parse(_explicit(text.strip().replace("^", "**")), mode="eval")
        return _node(tree.body)
    except (SyntaxError, ValueError, TypeError, ZeroDivisionError):
        return None


def _explicit(text: str) -> str:
    """`2x(x-1)` with its multiplications written out; `1e5` stays a number, `f(2)` a call."""
    text = re.sub(r"(?<![A-Za-z0-9.])(\d+(?:\.\d*)?)(?![eE][-+]?\d)\s*(?=[A-Za-z(])(?!j\b)", r"\1*", text)
    return re.sub(r"\)\s*(?=[A-Za-z0-9(])", ")*", text)


def _node(node: ast.AST) -> Any:
    import sympy

    match node:
        case ast.Constant(value=bool()):
            raise ValueError("not algebra")
        case ast.Constant(value=int() as value):
            return sympy.Integer(value)
        case ast.Constant(value=float() as value):
            return sympy.Float(repr(value), 17)
        case ast.Constant(value=complex() as value):
            return sympy.Float(repr(value.imag), 17) * sympy.I
        case ast.Name(id=name):
            return _named(name)
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            return _named(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_node(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _node(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _applied(_OPERATORS[type(operator)], _node(left), _node(right))
        case ast.Call(func=function, args=arguments, keywords=[]):
            return _called(function, [_node(argument) for argument in arguments])
    raise ValueError("not algebra")


def _named(name: str) -> Any:
    import sympy

    constants = {"pi": sympy.pi, "E": sympy.E, "e": sympy.E, "I": sympy.I, "i": sympy.I}
    greek = ("theta", "alpha", "beta", "gamma", "lambda", "mu", "phi", "omega", "sigma")
    if name in constants:
        return constants[name]
    if len(name) == 1 or name in greek:
        return sympy.Symbol(name, real=True)
    raise ValueError("not a letter")


def _applied(operator: str, left: Any, right: Any) -> Any:
    import sympy

    match operator:
        case "Sub":
            return left - right
        case "Div":
            return left / right
        case _:
            return getattr(sympy, operator)(left, right)


def _called(function: ast.AST, arguments: list[Any]) -> Any:
    import sympy

    match function:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            pass
        case ast.Name(id=name):
            pass
        case _:
            raise ValueError("not a function")
    if name not in _FUNCTIONS:
        raise ValueError("not a function of algebra")
    return getattr(sympy, {"ln": "log", "abs": "Abs"}.get(name, name))(*arguments)


if __name__ == "__main__":
    main(int(sys.argv[1]))
