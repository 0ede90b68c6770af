"""A page of text as a PDF file: enough for an invoice, in the fonts that every reader has."""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH, _HEIGHT = 595, 842
_LEFT, _TOP, _LEADING = 56, 780, 18
_COLUMN = 200


def page(title: str, lines: Sequence[tuple[str, str]], *, foot: Sequence[str] = ()) -> bytes:
    """One page of A4.

    Args:
        title: in large letters at its head.
        lines: names and values, in two columns.
        foot: further lines in small letters.
    """
    text = [f"BT /F2 18 Tf {_LEFT} {_TOP} Td ({_escaped(title)}) Tj ET"]
    height = _TOP - 2 * _LEADING
    for name, value in lines:
        text.append(f"BT /F2 10 Tf {_LEFT} {height} Td ({_escaped(name)}) Tj ET")
        text.append(f"BT /F1 10 Tf {_LEFT + _COLUMN} {height} Td ({_escaped(value)}) Tj ET")
        height -= _LEADING
    height -= _LEADING
    for line in foot:
        text.append(f"BT /F1 7 Tf {_LEFT} {height} Td ({_escaped(line)}) Tj ET")
        height -= _LEADING
    return _file("\n".join(text).encode("latin-1"))


def _escaped(text: str) -> str:
    r"""Text as it stands between parentheses, in Latin-1, the one alphabet of the built-in fonts.

    Example:
        >>> _escaped("a (b) \\ c")
        'a \\(b\\) \\\\ c'
    """
    plain = text.encode("latin-1", "replace").decode("latin-1")
    visible = "".join(character if character.isprintable() else " " for character in plain)
    return visible.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _file(content: bytes) -> bytes:
    fonts = b"/Font << /F1 5 0 R /F2 6 0 R >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources << %s >> /Contents 4 0 R >>"
        % (_WIDTH, _HEIGHT, fonts),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    )
    found = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(found))
        found += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table)
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(found))
    return found + head + tail
