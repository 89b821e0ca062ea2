"""Recognise what a file holds by its content, and read the exchanges in it, one entry after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.core.fixtures import charles, fixture, har, listed, logged, ndjson, proxyman, shown
from proxy_addon.core.fixtures.captures import Capture, Entry, Tally
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.jsonstream import LARGEST_VALUE, LONGEST_STRING, CutOff, JsonStream, Raw
from proxy_addon.errors import ProtocolError
from proxy_addon.files.unpacking import LARGEST_WHOLE, Unpacked


class Form(StrEnum):
    """Forms of files that hold exchanges or sessions; the values are their names in messages."""

    FIXTURE = "a fixture"
    SHOWN = "the output of 'show --json'"
    LISTED = "a list of bodies"
    EXCHANGES = "lines of exchanges"
    BODIES = "lines of bodies"
    LOGGED = "a collector's log"
    HAR = "a HAR"
    HAR_ENTRIES = "a list of HAR entries"
    HAR_LINES = "lines of HAR entries"
    CHARLES = "a Charles session"
    PROXYMAN = "a Proxyman log"
    FLOWS = "a mitmproxy flow file"

    @property
    def is_sessions(self) -> bool:
        """Whether it holds whole sessions, which are not folded from exchanges."""
        return self in (Form.SHOWN, Form.LISTED, Form.BODIES)


_FLOWS = re.compile(rb"[0-9]{1,12}:")
_JSONP = re.compile(rb"\s*[A-Za-z_$][\w$.]*\s*\(\s*(?=\{)")
_MAY_BE_API = re.compile(rb"(?:/|\\/|\\u002[fF])api(?:/|\\/|\\u002[fF])v")
_LINES_TRIED = 100
"""How many broken lines may come before the first that says what the lines are."""


def recognised(file: Unpacked) -> Form | None:
    """Return what a file holds; None if it is in no form that we know."""
    if file.parts is not None:
        return Form.PROXYMAN
    if _FLOWS.match(file.head):
        return Form.FLOWS
    stream = _stream(file)
    try:
        match stream.peek():
            case b"[":
                return _form_of_array(file, stream)
            case b"{":
                return _form_of_object(file, stream)
    except ProtocolError:
        pass
    else:
        return None
    with suppress(ProtocolError):
        return _form_of_lines(file)
    return None


def _form_of_array(file: Unpacked, stream: JsonStream) -> Form | None:
    values = (raw.decoded() for raw in stream.elements())
    first = next((value for value in values if isinstance(value, dict)), {})
    if isinstance(first.get("request"), dict):
        return Form.HAR_ENTRIES if "startedDateTime" in first else Form.CHARLES
    return Form.LISTED if file.document is not None else None


def _form_of_object(file: Unpacked, stream: JsonStream) -> Form | None:
    for name in stream.members():
        if name == "log" and stream.peek() == b"{":
            return Form.HAR
        if name == fixture.MARK:
            break  # whatever is behind it, it is read as a whole
        stream.skip()
    else:
        if stream.peek():
            return _form_of_lines(file)
    value = file.document
    if fixture.is_fixture(value):
        return Form.FIXTURE
    if shown.is_shown(value):
        return Form.SHOWN
    return _form_of_line(value) or (Form.LISTED if listed.is_listed(value) else None)


def _form_of_line(value: Any) -> Form | None:
    if logged.is_entry(value):
        return Form.LOGGED
    if ndjson.is_line(value):
        return Form.EXCHANGES
    if isinstance(value, dict) and "startedDateTime" in value and isinstance(value.get("request"), dict):
        return Form.HAR_LINES
    return None


def _form_of_lines(file: Unpacked) -> Form | None:
    """Return what the lines of a file are; broken ones may come first."""
    bodies = 0
    for number, (_, _, line) in enumerate(_lines(file)):
        try:
            value = jsontext.loads(line)
        except ProtocolError:
            value = None
        if form := _form_of_line(value):
            return form
        bodies += isinstance(value, dict) and isinstance(value.get("eventType"), str)
        if bodies > 1:
            return Form.BODIES
        if number > _LINES_TRIED:
            break
    return None


def fault(file: Unpacked) -> str | None:
    """Return what is wrong with a file that is in no form that we know: it is empty, cut off, or damaged; None otherwise."""
    stream = _stream(file)
    try:
        match stream.peek():
            case b"":
                return "is empty"
            case b"{" | b"[":
                stream.skip()
    except CutOff:
        return "is cut off, and nothing in it can be read"
    except ProtocolError as e:
        return f"cannot be read: {e}"
    return None


def capture(file: Unpacked, form: Form) -> Capture:
    """Return the exchanges in a file of any form but `Form.FLOWS`.

    Raises:
        ProtocolError: The file is a document of which nothing can be read.
    """
    tally = Tally()
    match form:
        case Form.FIXTURE:
            return fixture.read(file.document)
        case Form.SHOWN | Form.LISTED | Form.BODIES:
            found = sessions(file, form, tally)
            return Capture(
                form=str(form),
                exchanges=(each for held in found for each in held.exchanges),
                tally=tally,
                pseudonymised=all(held.session.pseudonymised for held in found),
                recording=found[0].session.recording,
            )
        case Form.EXCHANGES:
            about = _session_of_first_line(file)
            name, pseudonymised = about.get("recording"), about.get("pseudonymised") is True
            lines = _entries_of_lines(file, tally)
            return Capture(
                form=str(form),
                exchanges=ndjson.exchanges(lines, tally, pseudonymised=pseudonymised),
                tally=tally,
                is_ours=True,
                lacks_failures=about.get("has_holes") is True,
                pseudonymised=pseudonymised,
                recording=name if isinstance(name, str) else None,
            )
        case Form.LOGGED:
            return Capture(
                form=str(form), exchanges=logged.exchanges(_entries_of_lines(file, tally), tally), tally=tally
            )
        case Form.CHARLES:
            found_ = charles.exchanges(_entries_of_array(file, tally), tally)
            return Capture(form=str(form), exchanges=found_, tally=tally)
        case Form.PROXYMAN:
            return Capture(form=str(form), exchanges=proxyman.exchanges(_parts(file, tally), tally), tally=tally)
        case Form.HAR_LINES:
            return _har(file, form, {}, _entries_of_lines(file, tally), tally)
        case Form.HAR_ENTRIES:
            return _har(file, form, {}, _entries_of_array(file, tally), tally)
        case Form.HAR:
            return _har(file, form, _har_log(file), _entries_of_har(file, tally), tally)
        case Form.FLOWS:
            raise AssertionError("only mitmproxy reads its flow files")


def _session_of_first_line(file: Unpacked) -> Mapping[str, Any]:
    first = next(_entries_of_lines(file, Tally()), None)
    about = first.value.get("session") if first is not None and isinstance(first.value, dict) else None
    return about if isinstance(about, dict) else {}


def sessions(file: Unpacked, form: Form, tally: Tally) -> list[HeldSession]:
    """Return the sessions of a document for whose form `Form.is_sessions` holds, at least one.

    Raises:
        ProtocolError: The document is invalid, and the message says where; or there is no session in it.
    """
    if form is Form.SHOWN:
        return [shown.session_in(file.document)]
    if form is Form.LISTED:
        return [listed.session_in(file.document, file.beginning(LARGEST_WHOLE))]
    bodies: list[Any] = []
    lines: list[bytes] = []
    for number, offset, line in _lines(file):
        try:
            bodies.append(jsontext.loads(line))
            lines.append(line)
        except ProtocolError as e:
            tally.refuse(f"line {number}, at byte {offset}", e)
    return [listed.session_in(bodies, b"[%b]" % b",".join(lines))]


def _har(file: Unpacked, form: Form, log: Mapping[str, Any], entries: Iterable[Entry], tally: Tally) -> Capture:
    return Capture(
        form=har.form(log) if log else str(form),
        exchanges=har.exchanges(entries, log, tally, file.attached),
        tally=tally,
        is_ours=har.is_ours(log),
        lacks_failures=har.lacks_failures(log) or har.has_holes(log),
        pseudonymised=har.pseudonymised(log),
        recording=har.recording(log),
    )


def _har_log(file: Unpacked) -> dict[str, Any]:
    """Return the members of ``log`` that say which tool wrote it, even if they are behind the entries."""
    found: dict[str, Any] = {}
    stream = _stream(file)
    try:
        for name in stream.members():
            if name != "log":
                stream.skip()
                continue
            for inner in stream.members():
                if inner == "entries" and "creator" in found:
                    return found
                if inner in ("creator", "browser", "version", "comment", "_sessiontape"):
                    found[inner] = stream.value().decoded()
                else:
                    stream.skip()
    except ProtocolError:
        pass  # whoever reads the entries will say so
    return found


def _entries_of_har(file: Unpacked, tally: Tally) -> Iterator[Entry]:
    stream = _stream(file)

    def raws() -> Iterator[Raw]:
        for name in stream.members():
            if name != "log" or stream.peek() != b"{":
                stream.skip()
                continue
            for inner in stream.members():
                if inner == "entries" and stream.peek() == b"[":
                    yield from stream.elements()
                else:
                    stream.skip()

    return _entries(file, raws(), stream, tally)


def _entries_of_array(file: Unpacked, tally: Tally) -> Iterator[Entry]:
    stream = _stream(file)
    return _entries(file, stream.elements(), stream, tally)


def _entries(file: Unpacked, raws: Iterator[Raw], stream: JsonStream, tally: Tally) -> Iterator[Entry]:
    """Yield the entries that can be decoded, and count the others; a file that is cut off has one more."""
    number = 0
    try:
        for number, raw in enumerate(raws, 1):  # how many there were before an error
            where = f"entry {number - 1}"
            try:
                yield Entry(where=where, value=_decoded(file, raw), offset=raw.offset)
            except ProtocolError as e:
                tally.refuse(f"{where}, at byte {raw.offset}", e)
    except CutOff as e:
        tally.refuse(f"entry {number}", CutOff(f"{e}; the file is cut off"))
    except ProtocolError as e:
        tally.refuse(f"entry {number}", f"{e}; the rest of the file is not read")


def _decoded(file: Unpacked, raw: Raw) -> Any:
    """Return an entry's value, with its long strings if they may be of the API."""
    if raw.is_shortened and _MAY_BE_API.search(raw.text):
        raw = _stream(file, begin=raw.offset, longest_string=LARGEST_VALUE).value()
    if raw.is_too_large or (raw.is_shortened and _MAY_BE_API.search(raw.text)):
        raise ProtocolError(f"larger than {LARGEST_VALUE // 1024**2} MiB")
    return raw.decoded()


def _entries_of_lines(file: Unpacked, tally: Tally) -> Iterator[Entry]:
    lines = _lines(file)
    number = 0
    while True:
        try:
            number, offset, line = next(lines)
        except StopIteration:
            return
        except ProtocolError as e:
            tally.refuse(f"line {number + 1}", f"{e}; the rest of the file is not read")
            return
        where = f"line {number}"
        if len(line) > LONGEST_STRING and not _MAY_BE_API.search(line):
            tally.skip("not the API")
            continue
        try:
            if len(line) > LARGEST_VALUE:
                raise ProtocolError(f"larger than {LARGEST_VALUE // 1024**2} MiB")  # noqa: TRY301  # told in one place
            value = jsontext.document(line)
        except ProtocolError as e:
            tally.refuse(f"{where}, at byte {offset}", e)
        else:
            yield Entry(where=where, value=value, offset=offset)


def _parts(file: Unpacked, tally: Tally) -> Iterator[Entry]:
    assert file.parts is not None
    for name, read in file.parts():
        try:
            value = jsontext.loads(read())
        except ProtocolError as e:
            tally.refuse(name, e)
        else:
            yield Entry(where=name, value=value)


def _lines(file: Unpacked) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, position and text of each line that is not blank.

    Lines end at line feeds alone: other line separators of Unicode may be in a JSON string. A line that is too long to be
    read is yielded with its beginning only, which is longer than `LARGEST_VALUE`.
    """
    number, line = 1, bytearray()
    at = begin = len(file.mark)
    for chunk in file.chunks():
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            line += piece
            if line.strip():
                yield number, begin, bytes(line)
            number, line = number + 1, bytearray()
            at = begin = at + len(piece) + 1
        if len(line) <= LARGEST_VALUE:
            line += rest
        at += len(rest)
    if line.strip():
        yield number, begin, bytes(line)


def _stream(file: Unpacked, *, begin: int | None = None, longest_string: int = LONGEST_STRING) -> JsonStream:
    """Return the JSON in a file, behind a byte order mark and the function call of JSONP.

    Args:
        begin: Where to begin; None for the beginning.
    """
    call = _JSONP.match(file.head)
    offset = len(file.mark)
    skip = (call.end() if call else 0) if begin is None else begin - offset

    def chunks() -> Iterator[bytes]:
        left = skip
        for chunk in file.chunks():
            if left < len(chunk):
                yield chunk[left:]
            left = max(0, left - len(chunk))

    return JsonStream(chunks(), offset=offset + skip, longest_string=longest_string)
