"""What a running cell sends, gathered into a `CellResult`."""

from collections.abc import Mapping
from typing import Any

from environments.kernels.output import BoundedText, strip_ansi
from environments.types import CellError, CellResult, ToolCall, clean

LONGEST_NAME = 1_000
"""Characters of an exception's name."""
MOST_DROPPED = 1 << 50


class CellOutput:
    """Takes one cell's messages in the order they come.

    Displays stand among the printed lines, in order; a display that is updated is shown again.
    `clear_output` clears what a reader of the notebook would no longer see.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stdout, self._stderr = BoundedText(limit), BoundedText(limit)
        self._value: BoundedText | None = None
        self._error: _Error | None = None
        self._clears_next = False
        self._replied_error = False
        self.calls: list[ToolCall] = []
        self.taken = 0
        """Messages so far."""
        self.left = False
        """The cell called `exit()` or `quit()`, with which a kernel ends."""

    def take(self, kind: str, content: Mapping[str, Any]) -> None:
        """A message of the iopub channel."""
        self.taken += 1
        dropped = _count(content.get("dropped", 0))
        match kind:
            case "stream":
                self._clear_if_due()
                stream = self._stderr if content["name"] == "stderr" else self._stdout
                stream.add(_text(content["text"]), dropped)
            case "display_data" | "update_display_data":
                self._clear_if_due()
                self._stdout.add(_text(content["data"].get("text/plain", "")) + "\n", dropped)
            case "execute_result":
                self._value = BoundedText(self._limit)
                self._value.add(_text(content["data"].get("text/plain", "")), dropped)
            case "error":
                self._error = _Error(content, self._limit)
            case "clear_output":
                self._clears_next = True
                if not content.get("wait"):
                    self._clear_if_due()

    def take_reply(self, content: Mapping[str, Any]) -> None:
        """The shell channel's word on how the cell ended."""
        self._replied_error = content["status"] == "error"
        if self._replied_error and self._error is None:
            self._error = _Error(content, self._limit)
        self.left = any(part.get("source") == "ask_exit" for part in content.get("payload", ()))

    def result(self, seconds: float, *, timed_out: bool = False, died: bool = False) -> CellResult:
        error = self._error
        if error is not None and not self._replied_error and not timed_out:
            # Code may show a traceback (`%tb`) without ending by it.
            self._stderr.add(str(error.traceback) + "\n")
            error = None
        texts = [self._stdout, self._stderr, self._value, *((error.value, error.traceback) if error else ())]
        return CellResult(
            stdout=clean(str(self._stdout)),
            stderr=clean(str(self._stderr)),
            value=None if self._value is None else clean(str(self._value)),
            error=None if error is None else error.plain(),
            timed_out=timed_out,
            died=died,
            dropped=sum(text.dropped for text in texts if text is not None),
            seconds=seconds,
            calls=tuple(self.calls),
        )

    def _clear_if_due(self) -> None:
        if self._clears_next:
            self._stdout, self._stderr = BoundedText(self._limit), BoundedText(self._limit)
            self._clears_next = False


def _text(value: Any) -> str:
    """Raises `TypeError` for what a kernel of ours would not send: the code has laid hands on it."""
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_DROPPED:
        raise ValueError("a number of characters was expected")
    return value


class _Error:
    """An exception as IPython tells it. Its message is bounded as well: it may hold a whole table."""

    def __init__(self, content: Mapping[str, Any], limit: int) -> None:
        self.name = _text(content["ename"])[:LONGEST_NAME]
        self.value, self.traceback = BoundedText(limit), BoundedText(limit)
        self.value.add(_text(content["evalue"]))
        self.traceback.add("\n".join(content["traceback"]), _count(content.get("dropped", 0)))

    def plain(self) -> CellError:
        return CellError(clean(self.name), clean(str(self.value)), clean(strip_ansi(str(self.traceback))))
