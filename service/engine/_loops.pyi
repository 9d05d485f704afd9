from collections.abc import Callable

from service.engine.contract import Array

def bind(name: str, arrays: tuple[Array, ...], constants: Array, /) -> Callable[[], None]: ...
