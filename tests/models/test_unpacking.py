"""Archives are read within bounds, whatever they say of themselves."""

import gzip
import io
import os
import struct
import tarfile
import zipfile

import pytest

from models.text.intake.members import Budget, LeftOut, Member, TooMuch
from models.text.intake.unpacking import blocks, inflated, tar_members, zip_members
from tests.packed import tar_of, zip_of

LIMIT = 1 << 30


def contents(members: list[Member]) -> dict[str, bytes]:
    found = {}
    for member in members:
        with member.open() as file:
            found[member.name] = b"".join(blocks(file))
    return found


@pytest.mark.parametrize(("read", "packed"), [(zip_members, zip_of), (tar_members, tar_of)])
def test_what_is_in_an_archive(read: object, packed: object) -> None:
    files = {"b/a.txt": b"one\n" * 100_000, "a.txt": b"two\n"}
    archive = io.BytesIO(packed(files))  # type: ignore[operator]
    members = read(archive, Budget(LIMIT))  # type: ignore[operator]
    assert [member.reason for member in members] == [None, None]
    assert contents(members) == files


def test_what_is_no_plain_file_in_a_zip_is_left_out() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder/", "")
        archive.writestr("zeros", bytes(9 << 20), zipfile.ZIP_DEFLATED)
        archive.writestr("odd", b"x", zipfile.ZIP_LZMA)
    faults = {m.name: m.reason for m in zip_members(packed, Budget(LIMIT))}
    assert faults == {
        "link": "it is a link",
        "zeros": "it unpacks to more than 100 times its size",
        "odd": "it is compressed in an unusual way",
    }


def test_what_is_no_plain_file_in_a_tar_is_left_out() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, kind in (
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("device", tarfile.CHRTYPE),
            ("folder", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    faults = {m.name: m.reason for m in tar_members(packed, Budget(LIMIT))}
    assert faults == {
        "link": "it is a link",
        "hard": "it is a link",
        "device": "it is not a plain file",
    }


def test_a_zip_with_a_long_list_is_refused_before_it_is_read() -> None:
    """One of 100,000 files: zipfile would make an object of each."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", *[0] * 8, 0, 0, 0, 1, *[0] * 4, 0, 0) + b"a"
    listed = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), 0, 0)
    with pytest.raises(TooMuch, match="more than 10,000 files"):
        zip_members(io.BytesIO(listed + end), Budget(LIMIT))


@pytest.mark.parametrize(("read", "packed"), [(zip_members, zip_of), (tar_members, tar_of)])
def test_an_archive_of_too_many_files(read: object, packed: object) -> None:
    archive = io.BytesIO(packed({f"{n}": b"" for n in range(10_001)}))  # type: ignore[operator]
    with pytest.raises(TooMuch, match="more than 10,000 files"):
        read(archive, Budget(LIMIT))  # type: ignore[operator]


def test_a_zip_says_less_than_it_holds() -> None:
    """Then zipfile reads no more than it says, and the checksum does not fit."""
    data = bytearray(zip_of({"a": os.urandom(1 << 16)}))
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", 100)
    (member,) = zip_members(io.BytesIO(bytes(data)), Budget(LIMIT))
    with pytest.raises(LeftOut, match="damaged"):
        contents([member])


def test_files_of_a_zip_that_overlap() -> None:
    data = bytearray(zip_of({"a": os.urandom(1 << 16)}))
    at, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    entry = bytes(data[at:end])
    size = struct.pack("<L", 3 * len(entry))
    tail = bytes(data[end : end + 12]) + size + bytes(data[end + 16 :])
    with pytest.raises(LeftOut, match="damaged"):
        zip_members(io.BytesIO(bytes(data[:at]) + entry * 3 + tail), Budget(LIMIT))


def test_a_tar_does_not_fill_the_memory_with_a_name() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 20
    packed = io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(8 << 20))
    with pytest.raises(LeftOut, match="damaged"):
        tar_members(packed, Budget(LIMIT))


def test_a_tar_does_not_take_long_for_its_headers() -> None:
    """Of a megabyte of digits, a Python with CVE-2024-6232 would take half an hour."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 20
    packed = io.BytesIO(info.tobuf(tarfile.USTAR_FORMAT) + b"1" * (1 << 20))
    with pytest.raises(LeftOut, match="damaged"):
        tar_members(packed, Budget(LIMIT))
    digits = {"pi.txt": b"31415926535897932384626433832795028841971693993751"}
    assert contents(tar_members(io.BytesIO(tar_of(digits)), Budget(LIMIT))) == digits


def test_a_gzip_file_grows_only_so_much() -> None:
    text = b"".join(b"%d green bottles\n" % n for n in range(100_000))
    assert b"".join(inflated(io.BytesIO(gzip.compress(text)))) == text
    bomb = io.BytesIO(gzip.compress(bytes(64 << 20)))
    sizes = []
    with pytest.raises(LeftOut, match="more than 100 times"):
        sizes += [len(block) for block in inflated(bomb)]


def test_a_compressed_tar_of_many_small_files_is_no_bomb() -> None:
    packed = tar_of({f"{n}.txt": "x" for n in range(3000)}, "w:gz")
    unpacked = io.BytesIO(b"".join(inflated(io.BytesIO(packed))))
    assert len(unpacked.getvalue()) > 100 * len(packed)
    assert len(tar_members(unpacked, Budget(LIMIT))) == 3000
