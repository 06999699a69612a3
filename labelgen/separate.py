"""Songs split into their parts by demucs; needs `demucs` (and torch), and a model's weights.

Models come by name from demucs's own download, once, or from a local folder: either ``NAME.yaml`` and
``SIGNATURE.safetensors`` as in demucs's repositories on the Hugging Face hub, or demucs's older
``SIGNATURE-CHECKSUM.th``. The latter are pickles: load none that you do not trust.

Contents
--------
SeparationError, Separator
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dance.errors import install

F32 = npt.NDArray[np.float32]


class SeparationError(RuntimeError):
    """No model, or none that knows drums; says what to do."""


class Separator:
    """A demucs model.

    Parameters
    ----------
    name : str
        ``htdemucs``, ``htdemucs_ft``, ``mdx_extra`` ..., or a signature.
    repo : Path, optional
        Folder to load from instead of the net.
    device : str
        ``cpu``, ``cuda`` or any that torch knows.

    Attributes
    ----------
    sources : tuple of str
        The parts, ``drums`` among them.
    sample_rate : int

    Raises
    ------
    SeparationError
    """

    def __init__(self, name: str = "htdemucs", repo: Path | None = None, device: str = "cpu") -> None:
        try:
            import torch
            from demucs.apply import apply_model
        except ImportError as error:
            raise SeparationError(
                f"separation needs demucs ({error}): {install('labels')}; "
                "for recordings of drums alone, --drums-only does without"
            ) from None
        self._torch, self._apply = torch, apply_model
        try:
            self._device = torch.device(device)
        except RuntimeError as error:
            raise SeparationError(f"--device {device}: {str(error).splitlines()[0]}") from None
        self._model = _load(name, repo).to(self._device).eval()
        self.sources = tuple(self._model.sources)
        self.sample_rate = int(self._model.samplerate)
        if "drums" not in self.sources:
            raise SeparationError(f"model {name} has no drums among its parts ({', '.join(self.sources)})")

    def separate(self, audio: F32) -> dict[str, F32]:
        """Return the parts of a recording.

        Parameters
        ----------
        audio : float32 [n, 2]
            At the model's `sample_rate`.

        Returns
        -------
        dict of str to float32 [n, 2]
        """
        torch = self._torch
        mix = torch.from_numpy(np.ascontiguousarray(audio.T, np.float32))
        # the model was trained on audio of mean 0 and deviation 1, as demucs's own command line does it
        mean, deviation = mix.mean(), mix.mean(0).std() + 1e-8
        with torch.inference_mode():
            # no random shifts: the same song gives the same labels
            parts = self._apply(
                self._model, ((mix - mean) / deviation)[None], shifts=0, overlap=0.25, device=self._device
            )[0]
        parts = (parts * deviation + mean).cpu().numpy()
        return {name: np.ascontiguousarray(part.T, np.float32) for name, part in zip(self.sources, parts, strict=True)}


def _load(name: str, repo: Path | None) -> Any:
    from demucs.pretrained import get_model

    if repo is None:
        try:
            return get_model(name)
        except (SystemExit, Exception) as error:  # demucs has many ways to say that a download failed
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise SeparationError(
                f"model {name} is neither here nor could it be downloaded ({reason}). Without network, copy the "
                "model's files into a folder and name it with --repo FOLDER; for recordings of drums alone, "
                "--drums-only needs no model"
            ) from None
    if not repo.is_dir():
        raise SeparationError(f"--repo {repo}: no such folder")
    try:
        return _load_safetensors(name, repo) or get_model(name, repo)
    except (SystemExit, Exception) as error:
        there = ", ".join(sorted(path.name for path in repo.iterdir())[:8]) or "nothing"
        raise SeparationError(f"--repo {repo}: cannot load model {name} ({error}); the folder holds {there}") from None


def _load_safetensors(name: str, repo: Path) -> Any:
    """Load a model in the form of the Hugging Face hub; None if the folder has none of that name."""
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import load_safetensors_model

    single, bag = repo / f"{name}.safetensors", repo / f"{name}.yaml"
    if single.is_file():
        return load_safetensors_model(single)
    if not bag.is_file():
        return None
    about = yaml.safe_load(bag.read_text(encoding="utf-8"))
    files = [repo / f"{signature}.safetensors" for signature in about["models"]]
    if not all(file.is_file() for file in files):
        return None
    return BagOfModels([load_safetensors_model(f) for f in files], about.get("weights"), about.get("segment"))
