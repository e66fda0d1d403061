# SPDX-License-Identifier: Apache-2.0
"""Vision Transformers by libvitro: weights in, predictions and features out, as numpy arrays.

    import vitro

    with vitro.Model("model.safetensors") as model:
        for best in model.predict(["tulip.jpg", "rose.jpg"]).top:
            print(best[0].name, best[0].prob)
"""
from ._library import Error, LibraryNotFound, __version__, library
from ._model import Class, Model, Prediction

__all__ = ["Class", "Error", "LibraryNotFound", "Model", "Prediction", "__version__",
           "build_info", "library_version"]


def library_version() -> str:
    """The version of the libvitro that was found."""
    text: bytes = library.vitro_version()
    return text.decode()


def build_info() -> str:
    """The libraries that libvitro was built with, one per line."""
    text: bytes = library.vitro_build_info()
    return text.decode()
