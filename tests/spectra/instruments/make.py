"""Write the sample files by other packages: ``pip install spc-io==0.2.1 jcamp==1.3.2 spectral==0.25``."""

from __future__ import annotations

from pathlib import Path

import jcamp
import numpy as np
import spc_io.high_level as spc
from spectral.io import envi

HERE = Path(__file__).parent
NM = np.arange(1100.0, 2500.0, 10.0)
WAVENUMBERS = np.arange(9000.0, 4000.0, -40.0)


def band(nm: np.ndarray) -> np.ndarray:
    """Return the absorbance of a sample: one band over an offset."""
    return 0.4 + 0.3 * np.exp(-0.5 * ((nm - 1450.0) / 60.0) ** 2)


#: Absorbance of three samples.
A = band(NM) + np.array([[0.0], [0.1], [0.2]])


def main() -> None:
    """Write ``wheat.jdx`` (cm-1, descending), ``wheat.spc`` (three subfiles), ``library.hdr`` and ``.sli``."""
    record = {
        "title": "wheat 1",
        "data type": "NEAR INFRARED SPECTRUM",
        "origin": "nirs4all_vit",
        "spectrometer/data system": "Simulated 1",
        "xunits": "1/CM",
        "yunits": "ABSORBANCE",
        "x": WAVENUMBERS,
        "y": band(1e7 / WAVENUMBERS),
        "xfactor": 1.0,
        "yfactor": 0.0001,
        "npoints": WAVENUMBERS.size,
    }
    (HERE / "wheat.jdx").write_text(jcamp.write(record), "utf-8")
    file = spc.SPC(xarray=spc.EvenAxis(NM[0], NM[-1], NM.size))
    for k, row in enumerate(A):
        file.add_subfile(yarray=row, w=0, z=k)
    written = bytearray(file.to_spc_raw().to_bytes())
    written[28:30] = 3, 2  # nanometres and absorbance: spc-io leaves both out
    (HERE / "wheat.spc").write_bytes(written)
    header = {"wavelength units": "Nanometers", "spectra names": ["oat", "rye", "wheat"], "wavelength": list(NM)}
    library = envi.SpectralLibrary((10.0**-A).astype(np.float32), header, None)
    library.bands.centers = list(NM)
    library.save(str(HERE / "library"), "three cereals, simulated")


if __name__ == "__main__":
    main()
