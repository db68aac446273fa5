"""Writers of small instrument files, after public descriptions of the formats.

`brukeropusreader` 1.3.4 and `specdal` 0.2.1 read the files of `opus` and `asd` with the same
values.
"""

from __future__ import annotations

import struct

import numpy as np


def sed(nm: np.ndarray, reflectance: np.ndarray, n_channels: int | None = None) -> str:
    """Spectral Evolution: a header of ``Key: value``, then columns; reflectance in percent."""
    header = (
        "Comment:\nVersion: 2.2 [1.2.6250C]\nFile Name: C:\\leaf.sed\nMeasurement: REFLECTANCE\n"
        "Date: 05/12/2023,05/12/2023\nTime: 10:12:13,10:13:00\nInstrument: PSR+3500_SN1536076 [3]\n"
        f"Channels: {n_channels or nm.size}\nColumns [2]:\nData:\n"
    )
    rows = "".join(f"{w:.1f}\t{100 * r:.5f}\n" for w, r in zip(nm, reflectance, strict=True))
    return header + "Wvl\tReflect. %\n" + rows


def sig(nm: np.ndarray, reflectance: np.ndarray) -> str:
    """Spectra Vista: wavelength, reference, target, and reflectance in percent."""
    header = (
        "/*** Spectra Vista SIG Data ***/\nname= leaf.sig\ninstrument= HI: 1112011 (HR-1024i)\nunits= Counts, Counts\n"
        "time= 5/12/2023 10:12:13 AM, 5/12/2023 10:13:00 AM\ndata=\n"
    )
    return header + "".join(
        f"{w:.1f}  1000.0  {1000 * r:.2f}  {100 * r:.5f}\n" for w, r in zip(nm, reflectance, strict=True)
    )


def jcamp(x: np.ndarray, y: np.ndarray, x_units: str, y_units: str, data_type: str = "NEAR INFRARED SPECTRUM") -> str:
    """JCAMP-DX 4.24 with pairs of x and y."""
    head = f"##TITLE=oat\n##JCAMP-DX=4.24\n##DATA TYPE={data_type}\n##ORIGIN=here\n##OWNER=us\n"
    head += f"##XUNITS={x_units}\n##YUNITS={y_units}\n"
    head += f"##XFACTOR=1\n##YFACTOR=1\n##FIRSTX={x[0]:g}\n##LASTX={x[-1]:g}\n##NPOINTS={x.size}\n##XYPOINTS=(XY..XY)\n"
    return head + "".join(f"{a:.6f}, {b:.8g}\n" for a, b in zip(x, y, strict=True)) + "##END=\n"


def spc(first: float, last: float, *rows: np.ndarray, x_type: int = 3, y_type: int = 2) -> bytes:
    """Galactic SPC, new format: header of 512 bytes, 32 per subfile, float32.

    x_type 1 = cm-1, 3 = nm; y_type 2 = absorbance, 129 = reflectance.
    """
    header = bytearray(512)
    header[:4] = (4 if len(rows) > 1 else 0, 0x4B, 5, 0x80)
    struct.pack_into("<iddi", header, 4, rows[0].size, first, last, len(rows))
    header[28:30] = x_type, y_type
    body = b""
    for k, row in enumerate(rows):
        sub = bytearray(32)
        struct.pack_into("<BBh", sub, 0, 0, 0x80, k)
        body += bytes(sub) + row.astype("<f4").tobytes()
    return bytes(header) + body


def asd(nm: np.ndarray, values: np.ndarray, data_type: int = 1) -> bytes:
    """ASD FieldSpec, revision 1: header of 484 bytes, float32; type 0 = raw, 1 = reflectance."""
    header = bytearray(484)
    header[:3] = b"ASD"
    struct.pack_into("<6h", header, 160, 13, 12, 10, 12, 4, 123)  # 12 May 2023, 10:12:13
    header[186] = data_type
    struct.pack_into("<ff", header, 191, nm[0], nm[1] - nm[0])
    struct.pack_into("<H", header, 204, nm.size)
    header[431] = 4
    return bytes(header) + values.astype("<f4").tobytes()


def opus(first: float, last: float, values: np.ndarray, data: int = 4, derivative: int = 0) -> bytes:
    """Bruker OPUS: a directory of blocks; parameters as name, type, length, value.

    data 4 = absorbance, 1 = single channel.
    """

    def text(name: str, value: str) -> bytes:
        raw = value.encode() + b"\0"
        raw += b"\0" * (len(raw) % 2)
        return name.encode() + b"\0" + struct.pack("<hh", 2, len(raw) // 2) + raw

    def number(name: str, value: float) -> bytes:
        return name.encode() + b"\0" + struct.pack("<hhd", 1, 4, value)

    def padded(block: bytes) -> bytes:
        return block + b"END\0" + struct.pack("<hh", 0, 0) + b"\0" * (-len(block) % 4)

    status = b"DPF\0" + struct.pack("<hhi", 0, 2, 1) + b"NPT\0" + struct.pack("<hhi", 0, 2, values.size)
    status += number("FXV", first) + number("LXV", last) + number("CSF", 1.0) + text("DXU", "WN")
    status += number("MXY", values.max()) + number("MNY", values.min())
    kind = 3 | 3 << 2 | data << 10 | derivative << 17
    blocks = [
        (kind, values.astype("<f4").tobytes()),
        (kind | 1 << 4, padded(status)),
        (2 << 4, padded(text("INS", "MPA") + text("SRN", "1234"))),
    ]
    start = 24 + 12 * len(blocks)
    out = b"\n\n\xfe\xfe" + struct.pack("<diii", 920622.0, 24, len(blocks), len(blocks))
    for block_type, block in blocks:
        out += struct.pack("<iii", block_type, len(block) // 4, start)
        start += len(block)
    return out + b"".join(block for _, block in blocks)
