# ruff: noqa: RUF001
"""What is not UTF-8 is named where that is sure, with a line of iconv that works; else nothing is.

With the real iconv: what the line writes is scanned, and is the text.
"""

import io
import random
import re
import subprocess
import unicodedata
from pathlib import Path

import pytest

from models.text import encodings
from models.text.cleaning import NotUtf8, cleaned
from models.text.corpus import scan
from models.text.encodings import explained, wide

ENGLISH = (
    "It was the best of times, it was the worst of times, it was the age of wisdom.\n"
    "“We had everything before us,” he said, “and we had nothing before us.”\n"
    "The period was so far like the present period – or so it’s said.\n"
) * 3
TEXTS = {
    "ru": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива "
    "по-своему.\nВсе смешалось в доме Облонских. Жена узнала, что муж был в связи с бывшею в их "
    "доме француженкою-гувернанткой, и объявила мужу, что не может жить с ним в одном доме.\n",
    "uk": "Як умру, то поховайте мене на могилі, серед степу широкого, на Вкраїні милій.\n"
    "Щоб лани широкополі, і Дніпро, і кручі було видно, було чути, як реве ревучий.\n",
    "pl": "Litwo! Ojczyzno moja! Ty jesteś jak zdrowie. Ile cię trzeba cenić, ten tylko się dowie, "
    "kto cię stracił.\nDziś piękność twą w całej ozdobie widzę i opisuję, bo tęsknię po tobie.\n",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy. Nechť již hříšné saxofony ďáblů rozezvučí síň "
    "úděsnými tóny waltzu, tanga a quickstepu.\nKdyby řeka měla křídla, létala by nad mořem.\n",
    "de": "Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem "
    "Bett zu einem ungeheueren Ungeziefer verwandelt.\nEr lag auf seinem panzerartig harten "
    "Rücken und sah, wenn er den Kopf ein wenig hob, seinen gewölbten, braunen Bauch.\n",
    "fr": "Longtemps, je me suis couché de bonne heure. Parfois, à peine ma bougie éteinte, mes "
    "yeux se fermaient si vite que je n’avais pas le temps de me dire : « Je m’endors. »\n"
    "Et, une demi-heure après, la pensée qu’il était temps de chercher le sommeil m’éveillait.\n",
    "es": "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que "
    "vivía un hidalgo de los de lanza en astillero, adarga antigua, rocín flaco y galgo corredor.\n"
    "¿Qué dirá de mí la señora? «Nada», respondió el muchacho, «ni mañana ni después».\n",
    "el": "Ουρανός και θάλασσα ήταν γαλανά, και το καράβι έφευγε σιγά από το λιμάνι.\n"
    "Οι άνθρωποι στην προκυμαία κοίταζαν τα πανιά να χάνονται πέρα από το ακρωτήρι.\n",
    "he": "בראשית ברא אלהים את השמים ואת הארץ. והארץ היתה תהו ובהו וחשך על פני תהום.\n"
    "ויאמר אלהים יהי אור ויהי אור. וירא אלהים את האור כי טוב.\n",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana "
    "sahiptirler ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.\n"
    "Çocuğun ağzından çıkan söz, yaşlı kadını şaşırttı; gülümsedi.\n",
    "ja": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
    "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。\n",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n"
    "인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.\n",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。\n"
    "人人有资格享有本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教。\n",
    "zh_tw": "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，"
    "並應以兄弟關係的精神相對待。\n"
    "人人有資格享受本宣言所載的一切權利和自由，不分種族、膚色、性別、語言、宗教。\n",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।\n"
    "उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिये।\n",
    "en": ENGLISH,
}
NAMED = [
    *[("ru", codec) for codec in ("cp1251", "koi8-r", "cp866", "iso8859-5", "mac-cyrillic")],
    *[("uk", codec) for codec in ("cp1251", "koi8-u")],
    *[("pl", codec) for codec in ("cp1250", "cp852")],
    *[("de", codec) for codec in ("cp1252", "iso8859-1", "iso8859-15")],
    *[("fr", codec) for codec in ("cp1252", "mac-roman")],
    *[("el", codec) for codec in ("cp1253", "iso8859-7")],
    *[("he", codec) for codec in ("cp1255", "iso8859-8")],
    *[("tr", codec) for codec in ("cp1254", "iso8859-9")],
    *[("ja", codec) for codec in ("shift_jis", "cp932", "euc_jp", "iso2022_jp")],
    *[("ko", codec) for codec in ("euc_kr", "cp949", "johab", "iso2022_kr")],
    *[("zh", codec) for codec in ("gb2312", "gbk", "gb18030")],
    *[("zh_tw", codec) for codec in ("big5", "cp950", "gb18030")],
    ("en", "cp1252"),
]
"""Those that have to be named; every other may be."""

OTHERS = [
    *[(language, "cp500") for language in ("en", "de", "fr")],
    *[(language, "cp037") for language in ("en", "de", "fr")],
    *[("de", codec) for codec in ("mac-roman", "cp850", "cp437", "cp1250", "cp273")],
    *[("fr", codec) for codec in ("iso8859-15", "cp850", "cp863")],
    *[("es", codec) for codec in ("cp1252", "iso8859-15", "mac-roman")],
    *[("cs", codec) for codec in ("cp1250", "cp852", "iso8859-2", "mac-latin2")],
    ("pl", "iso8859-2"),
    *[("tr", codec) for codec in ("cp1252", "cp857")],
    ("ru", "cp855"),
    ("zh", "hz"),
    ("en", "mac-roman"),
]

ICONV = re.compile(r"iconv (-f \S+ -t UTF-8) FILE > NEW")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "text"


def is_utf8(data: bytes) -> bool:
    """Whether no byte of a file can be called invalid."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def refusal(path: Path, data: bytes) -> NotUtf8:
    path.write_bytes(data)
    with pytest.raises(NotUtf8) as refused:
        scan(path)
    place = "" if is_utf8(data) else f" invalid byte at offset {refused.value.offset};"
    assert str(refused.value).startswith(f"the text is not UTF-8:{place} ")
    return refused.value


def converted(path: Path, line: re.Match[str]) -> str:
    """Does what the message says, and reads the result as a corpus."""
    new = path.with_name("new")
    with new.open("wb") as out:
        subprocess.run(["iconv", *line[1].split(), path], stdout=out, check=True)
    scan(new)
    return cleaned(new)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def encoded(language: str, codec: str) -> tuple[bytes, str]:
    """A text in an encoding, without what the encoding lacks."""
    data = (TEXTS[language] * 2).encode(codec, "ignore")
    return data, data.decode(codec)


@pytest.mark.parametrize(("language", "codec"), NAMED)
def test_a_sure_encoding_is_named_and_converted(language: str, codec: str, path: Path) -> None:
    data, text = encoded(language, codec)
    line = ICONV.search(str(refusal(path, data)))
    assert line and converted(path, line) == composed(text)


@pytest.mark.parametrize(("language", "codec"), OTHERS)
def test_no_encoding_is_named_wrongly(language: str, codec: str, path: Path) -> None:
    data, text = encoded(language, codec)
    path.write_bytes(data)
    if codec == "hz":
        # It is ASCII, and cannot be told from it.
        return
    line = ICONV.search(str(refusal(path, data)))
    assert line is None or converted(path, line) == composed(text)


@pytest.mark.parametrize(("language", "codec"), [*NAMED, *OTHERS])
def test_a_few_words_among_others_are_not_named_wrongly(
    language: str, codec: str, path: Path
) -> None:
    if codec in ("cp500", "cp037", "cp273", "iso2022_jp", "iso2022_kr", "hz"):
        pytest.skip("not a superset of ASCII")
    words = re.findall(r"\w+", encoded(language, codec)[1])
    random_ = random.Random(codec)
    plain = re.sub("[^\n -~]", "", ENGLISH).split(" ") * 4
    for count in (1, 12):
        for _ in range(count):
            plain.insert(random_.randrange(len(plain)), random_.choice(words))
        data = " ".join(plain).encode(codec)
        if not data.isascii():
            line = ICONV.search(str(refusal(path, data)))
            assert line is None or converted(path, line) == composed(data.decode(codec))


# UTF-16 and UTF-32


@pytest.mark.parametrize("language", ["en", "ru", "el", "hi", "ja", "ko"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""], ids=["mark", "no mark"])
def test_wide_encodings(language: str, codec: str, mark: str, path: Path) -> None:
    text = TEXTS[language] * 2
    line_end = "\r\n" if mark else "\n"
    data = (mark + text.replace("\n", line_end)).encode(codec)
    line = ICONV.search(str(refusal(path, data)))
    assert line and converted(path, line) == composed(text)


def test_the_offset_is_that_of_the_first_byte_that_no_text_has(path: Path) -> None:
    assert refusal(path, ENGLISH.encode("utf-16-le")).offset == 1
    assert refusal(path, ENGLISH.encode("utf-16-be")).offset == 0
    assert refusal(path, ENGLISH.encode("utf-16")).offset == 0


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_cut_wide_text_is_known_all_the_same(cut: int) -> None:
    assert wide(TEXTS["ru"].encode("utf-16-le")[:-cut]) == "UTF-16LE"
    assert wide(TEXTS["ru"].encode("utf-32-be")[:-cut]) == "UTF-32BE"


def test_numbers_are_not_taken_for_a_wide_text() -> None:
    random_ = random.Random(0)
    small = b"".join(random_.randrange(2000).to_bytes(2, "little") for _ in range(5000))
    noise = b"".join(
        (int(random_.gauss(0, 300)) & 0xFFFF).to_bytes(2, "little") for _ in range(5000)
    )
    records = b"".join(line.ljust(80, b"\0") for line in ENGLISH.encode().split(b"\n"))
    for data in (
        small,
        noise,
        records,
        ENGLISH.encode().replace(b"\n", b"\0"),
        b"\xff\xfe" + noise,
    ):
        assert wide(data) is None


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_utf8_is_never_taken_for_anything_else(text: str, path: Path) -> None:
    for data in (text.encode() * 2, ("\ufeff" + text * 2).encode()):
        path.write_bytes(data)
        assert scan(path).report.encoding == "utf-8"
    assert wide(text.encode()) is None


# Damaged


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("language", ["ja", "ko", "hi"])
def test_a_cut_off_text_is_said_to_be(language: str, cut: int, path: Path) -> None:
    whole = (TEXTS[language] * 2).rstrip("\n.").encode()
    refused = refusal(path, whole[:-cut])
    assert "cut off inside its last character" in str(refused)
    line = re.search(r"head -c (\d+) FILE > NEW", str(refused))
    assert line and int(line[1]) == refused.offset == len(whole) - 3
    path.write_bytes(whole[: int(line[1])])
    assert scan(path).report.encoding == "utf-8"


def test_the_only_character_that_is_not_ascii_may_be_cut_off(path: Path) -> None:
    plain = "a river and a stone\n" * 8
    assert "cut off inside" in str(refusal(path, (plain + "caf").encode() + b"\xc3"))
    assert "cut off inside" in str(refusal(path, plain.encode() + b"\xe2\x82"))
    # An é of Latin-1, or the beginning of a character.
    words = str(refusal(path, (plain + "café").encode("latin-1")))
    assert "or in a character of another encoding" in words


def test_a_damaged_text_is_still_utf8(path: Path) -> None:
    data = bytearray((TEXTS["ru"] * 4).encode())
    data[301] = 0xFF
    words = str(refusal(path, bytes(data)))
    assert "UTF-8 up to there or for the most part" in words
    line = re.search(r"iconv (-c -f UTF-8 -t UTF-8) FILE > NEW", words)
    assert line
    new = path.with_name("new")
    with new.open("wb") as out:
        # It says by its exit code that it dropped something.
        subprocess.run(["iconv", *line[1].split(), path], stdout=out, check=False)
    assert scan(new).report.characters >= len(TEXTS["ru"] * 4) - 2


def test_texts_in_two_encodings_are_not_called_one(path: Path) -> None:
    for one, other in (("utf-8", "cp1251"), ("cp1251", "utf-8"), ("cp1251", "utf-16-le")):
        data = (TEXTS["ru"] * 20).encode(one) + (TEXTS["ru"] * 20).encode(other)
        assert not ICONV.search(str(refusal(path, data))), (one, other)


# Bounds


def test_what_is_looked_at_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the file is; a part of it stands for the rest."""
    read = 0

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal read
            data = super().read(size)
            read += len(data)
            return data

    monkeypatch.setattr(encodings, "_CHECKED", 1 << 20)
    data = ENGLISH.encode("ascii", "ignore") * 20_000 + (TEXTS["ru"] * 20_000).encode("cp1251")
    found = explained(Counted(data), data.index(b"\xc2"))
    assert "CP1251" in found.words
    assert read < 3 << 20 < len(data)


def test_every_name_is_one_of_iconv() -> None:
    names = {*encodings._PREFERRED.values(), "UTF-16", "UTF-32", *encodings._WIDE}
    known = subprocess.run(["iconv", "-l"], capture_output=True, text=True, check=True).stdout
    assert names <= {name.strip("/,") for name in known.split()}
