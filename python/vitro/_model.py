# SPDX-License-Identifier: Apache-2.0
"""A Vision Transformer that predicts."""
from __future__ import annotations

import ctypes
import json
import os
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

import numpy as np
import numpy.typing as npt

from ._library import Bytes, Floats, check, library

FloatArray = npt.NDArray[np.float32]
Picture = Union[npt.NDArray[np.uint8], str, "os.PathLike[str]"]
#: Pictures: uint8 [height,width,channels] ([height,width] for grey), or paths of picture files; one
#: uint8 array [count,height,width,channels]; or inputs that are prepared already, float
#: [count,channels,height,width].
Images = Union[Sequence[Picture], npt.NDArray[Any]]


@dataclass(frozen=True)
class Class:
    """A class that a model sees."""

    index: int
    name: str  #: its number as text where the file has no name
    prob: float


@dataclass(frozen=True)
class Prediction:
    """What a model says about a batch of pictures."""

    logits: FloatArray  #: [count,classes]
    probs: FloatArray  #: [count,classes], each row a softmax
    top: List[List[Class]]  #: for each picture its best classes, best first

    def __len__(self) -> int:
        return len(self.top)


def _pointer(array: FloatArray) -> Any:
    return array.ctypes.data_as(Floats)


class Model:
    """A weight file, opened for prediction. Close it, or use it in a ``with`` statement.

    Several threads may call one model; they wait for each other.
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, device: Optional[str] = None,
                 threads: int = 0, precision: str = "fp32", batch_size: int = 8) -> None:
        """Opens ``path``, a .safetensors, .pth or .npz file.

        ``device``: "cpu", "cuda:0", ...; None: the best one here. ``threads``: 0: as many as the
        process may use. ``precision``: "fp32", "bf16" or "int8". ``batch_size``: how many images
        are computed at once.
        """
        self._session: Optional[ctypes.c_void_p] = None
        self._lock = threading.Lock()
        session = ctypes.c_void_p()
        check(library.vitro_session_open(ctypes.byref(session), os.fsencode(path),
                                         (device or "").encode(), threads, precision.encode(),
                                         batch_size))
        self._session = session
        card = json.loads(library.vitro_session_card(session).decode())
        #: geometry and options, as docs/FORMATS.md has them
        self.config: Dict[str, Any] = card["config"]
        #: how pictures become inputs; None: the model's channels are not those of a picture
        self.transform: Optional[Dict[str, Any]] = card.get("transform")
        #: None where the file has none
        self.class_names: Optional[List[str]] = card.get("classes")
        #: (channels, height, width)
        self.input_shape: Tuple[int, int, int] = (
            library.vitro_session_channels(session), library.vitro_session_height(session),
            library.vitro_session_width(session))
        self.num_classes: int = library.vitro_session_classes(session)  #: 0: no head
        self.num_features: int = library.vitro_session_features(session)
        self.device: str = library.vitro_session_device(session).decode()

    @classmethod
    def open(cls, path: Union[str, "os.PathLike[str]"], *, device: Optional[str] = None,
             threads: int = 0, precision: str = "fp32", batch_size: int = 8) -> "Model":
        """The same as ``Model(path, ...)``."""
        return cls(path, device=device, threads=threads, precision=precision,
                   batch_size=batch_size)

    def close(self) -> None:
        """Frees the model's memory. It cannot be used afterwards."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                library.vitro_session_close(session)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_session", None) is not None:
            self.close()

    def __repr__(self) -> str:
        channels, height, width = self.input_shape
        return (f"<vitro.Model {channels}x{height}x{width}, {self.num_classes} classes, "
                f"{self.device}>")

    def _open_session(self) -> ctypes.c_void_p:
        if self._session is None:
            raise ValueError("the model is closed")
        return self._session

    # ---- pictures ------------------------------------------------------------------------------

    def _prepare_one(self, session: ctypes.c_void_p, out: FloatArray, picture: Picture) -> None:
        if isinstance(picture, (str, os.PathLike)):
            check(library.vitro_session_input_file(session, _pointer(out), os.fsencode(picture)))
            return
        array = np.asarray(picture)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.dtype != np.uint8 or array.ndim != 3:
            raise TypeError(f"a picture is uint8 [height,width,channels] or a path; found "
                            f"{array.dtype} {list(array.shape)}")
        if array.shape[2] == 1 and self.input_shape[0] == 3:
            array = np.repeat(array, 3, axis=2)
        array = np.ascontiguousarray(array)
        check(library.vitro_session_input(session, _pointer(out), array.ctypes.data_as(Bytes),
                                          *array.shape))

    def preprocess(self, images: Images) -> FloatArray:
        """Pictures as the model's inputs, float32 [count,channels,height,width]."""
        if isinstance(images, (str, os.PathLike)):
            raise TypeError("expected a sequence of pictures, found one path: put it in a list")
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            if images.ndim != 4 or images.shape[1:] != self.input_shape:
                raise ValueError(f"inputs have shape {list(images.shape)}, expected "
                                 f"[count, {', '.join(map(str, self.input_shape))}]")
            return np.ascontiguousarray(images, dtype=np.float32)
        if isinstance(images, np.ndarray) and images.ndim != 4:
            raise ValueError(f"pictures in one array have shape [count,height,width,channels], "
                             f"found {list(images.shape)}: put one picture in a list")
        out = np.empty((len(images), *self.input_shape), dtype=np.float32)
        with self._lock:
            session = self._open_session()
            for i, picture in enumerate(images):
                self._prepare_one(session, out[i], picture)
        return out

    # ---- results -------------------------------------------------------------------------------

    def _run(self, images: Images, width: int, features: bool) -> FloatArray:
        inputs = self.preprocess(images)
        out = np.empty((len(inputs), width), dtype=np.float32)
        with self._lock:
            check(library.vitro_session_run(self._open_session(), _pointer(inputs), len(inputs),
                                            None if features else _pointer(out),
                                            _pointer(out) if features else None))
        return out

    def logits(self, images: Images) -> FloatArray:
        """[count,classes]"""
        if not self.num_classes:
            raise ValueError("the model has no head: it has features, and no logits")
        return self._run(images, self.num_classes, False)

    def features(self, images: Images) -> FloatArray:
        """What the head takes: [count,num_features]"""
        return self._run(images, self.num_features, True)

    def predict(self, images: Images, top_k: int = 5) -> Prediction:
        """Logits, probabilities, and for each picture its ``top_k`` best classes."""
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}, at least 1 is expected")
        logits = self.logits(images)
        exact = logits.astype(np.float64)
        exact = np.exp(exact - exact.max(axis=1, keepdims=True))
        probs = (exact / exact.sum(axis=1, keepdims=True)).astype(np.float32)
        best = np.argsort(-probs, axis=1, kind="stable")[:, :top_k]
        top = [[Class(int(i), self.class_name(int(i)), float(row[i])) for i in order]
               for row, order in zip(probs, best)]
        return Prediction(logits, probs, top)

    def class_name(self, index: int) -> str:
        """The name of a class, or its number as text."""
        names = self.class_names or []
        return names[index] if 0 <= index < len(names) else str(index)
