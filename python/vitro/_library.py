# SPDX-License-Identifier: Apache-2.0
"""Finds and loads libvitro, and says what its functions take."""
from __future__ import annotations

import ctypes
import ctypes.util
import os
from ctypes import POINTER, c_char_p, c_float, c_int, c_int64, c_uint8, c_void_p
from typing import Iterator, Sequence

__version__ = "0.1.0"
_INTERFACE = __version__.split(".")[:2]  # a new minor version may change the interface

Floats = POINTER(c_float)
Bytes = POINTER(c_uint8)

# name, what it gives, what it takes; include/vitro/session.h and base.h
_FUNCTIONS: Sequence[tuple[str, object, Sequence[object]]] = (
    ("vitro_version", c_char_p, ()),
    ("vitro_build_info", c_char_p, ()),
    ("vitro_status_name", c_char_p, (c_int,)),
    ("vitro_last_error", c_char_p, ()),
    ("vitro_session_open", c_int,
     (POINTER(c_void_p), c_char_p, c_char_p, c_int, c_char_p, c_int)),
    ("vitro_session_close", None, (c_void_p,)),
    ("vitro_session_channels", c_int64, (c_void_p,)),
    ("vitro_session_height", c_int64, (c_void_p,)),
    ("vitro_session_width", c_int64, (c_void_p,)),
    ("vitro_session_classes", c_int64, (c_void_p,)),
    ("vitro_session_features", c_int64, (c_void_p,)),
    ("vitro_session_class_name", c_char_p, (c_void_p, c_int64)),
    ("vitro_session_device", c_char_p, (c_void_p,)),
    ("vitro_session_card", c_char_p, (c_void_p,)),
    ("vitro_session_input", c_int, (c_void_p, Floats, Bytes, c_int64, c_int64, c_int64)),
    ("vitro_session_input_file", c_int, (c_void_p, Floats, c_char_p)),
    ("vitro_session_run", c_int, (c_void_p, Floats, c_int64, Floats, Floats)),
)


class Error(Exception):
    """A failure that libvitro reports: one line that says what was found and what was expected.

    ``status`` is the name of its code: "VITRO_E_FORMAT", ...
    """

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class LibraryNotFound(ImportError):
    """There is no libvitro of this version."""


def _candidates() -> Iterator[str]:
    """$VITRO_LIBRARY and nothing else; or beside this file; or the system's."""
    chosen = os.environ.get("VITRO_LIBRARY")
    if chosen:
        yield chosen
        return
    here = os.path.dirname(os.path.abspath(__file__))
    for name in ("libvitro.so.0", "libvitro.so", "libvitro.dylib"):
        path = os.path.join(here, name)
        if os.path.exists(path):
            yield path
    yield "libvitro.so.0"
    found = ctypes.util.find_library("vitro")
    if found:
        yield found


def _load() -> ctypes.CDLL:
    reasons = []
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            reasons.append(str(error))
            continue
        try:
            for name, result, arguments in _FUNCTIONS:
                function = getattr(library, name)
                function.restype = result
                function.argtypes = list(arguments)
        except AttributeError as error:
            raise LibraryNotFound(f"{path}: is another version of libvitro: {error}") from None
        version = library.vitro_version().decode()
        if version.split(".")[:2] != _INTERFACE:
            raise LibraryNotFound(f"{path}: is libvitro {version}, this module is for "
                                  f"{'.'.join(_INTERFACE)}")
        return library
    raise LibraryNotFound("libvitro was not found (VITRO_LIBRARY may name it): "
                          + "; ".join(reasons))


library = _load()


def check(status: int) -> None:
    """Raises what the library's status code says; the text is the calling thread's own."""
    if status:
        name = library.vitro_status_name(status).decode()
        text = library.vitro_last_error().decode("utf-8", "replace")
        if name == "VITRO_E_NOMEM":
            raise MemoryError(text)
        raise Error(name, text)
