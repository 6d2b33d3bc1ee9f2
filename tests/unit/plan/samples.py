"""Texts of many kinds and scripts for the tests of estimates and cuts, all made here.

The languages are Article 1 of the Universal Declaration of Human Rights, which is in the public domain.
"""

import base64
import csv
import hashlib
import io
import json
import random
from collections.abc import Callable

LANGUAGES = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen "
    "begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền. Mọi con người đều được "
    "tạo hóa ban cho lý trí và lương tâm và cần phải đối xử với nhau trong tình anh em.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью "
    "и должны поступать в отношении друг друга в духе братства.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι προικισμένοι "
    "με λογική και συνείδηση, και οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης.",
    "Arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم "
    "بعضًا بروح الإخاء.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה עליהם לנהוג "
    "איש ברעהו ברוח של אחווה.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और "
    "अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।",
    "Bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। তাঁদের বিবেক এবং বুদ্ধি আছে; সুতরাং "
    "সকলেরই একে অপরের প্রতি ভ্রাতৃত্বসুলভ মনোভাব নিয়ে আচরণ করা উচিত।",
    "Tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் மதிப்பிலும், உரிமைகளிலும் சமமானவர்கள், "
    "அவர்கள் நியாயத்தையும் மனச்சாட்சியையும் இயற்பண்பாகப் பெற்றவர்கள்.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 "
    "부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
}

CODE = {
    "Python": '''import asyncio


class Queue:
    """Waits for items."""

    def __init__(self, bound: int) -> None:
        self._items: list[str] = []
        self._bound = bound

    async def put(self, item: str) -> None:
        while len(self._items) >= self._bound:
            await asyncio.sleep(0.1)
        self._items.append(item)

    # The oldest first.
    def take(self) -> str | None:
        return self._items.pop(0) if self._items else None
''',
    "Go": """package queue

import "sync"

// Queue waits for items.
type Queue struct {
	mutex sync.Mutex
	items []string
}

func (q *Queue) Put(item string) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.items = append(q.items, item)
}

func (q *Queue) Take() (string, bool) {
	if len(q.items) == 0 {
		return "", false
	}
	item := q.items[0]
	q.items = q.items[1:]
	return item, true
}
""",
    "TypeScript": """import { EventEmitter } from "events";

export interface Item { id: number; name: string }

export class Queue extends EventEmitter {
  private items: Item[] = [];

  put(item: Item): void {
    this.items.push(item);
    this.emit("put", { ...item, at: Date.now() });
  }

  take(): Item | undefined {
    return this.items.shift();
  }
}
""",
}


def markdown() -> str:
    """A handbook: sections of all lengths, lists, tables, code."""
    parts = ["# Handbook"]
    for number in range(1, 25):
        below = f"\n\n### Details of {number}" if number % 4 == 0 else ""
        parts.append(f"## Section {number}{below}\n\n{' '.join([LANGUAGES['English']] * (1 + number * 5 % 9))}")
        parts.append(
            "\n".join(f"- point {point} of [the list](https://example.org/{number})" for point in range(number % 7))
        )
        if number % 5 == 0:
            parts.append(f"```python\n# not a heading\n{CODE['Python']}```")
        if number % 6 == 0:
            parts.append(table(8))
    return "\n\n".join(part for part in parts if part)


def table(rows: int) -> str:
    chance = random.Random(3)
    lines = [f"| {row} | town {row} | {chance.random():.3f} | {chance.randrange(10**6)} |" for row in range(rows)]
    return "| number | name | share | people |\n|---|---|---|---|\n" + "\n".join(lines)


def html() -> str:
    rows = "\n".join(f'<li class="item"><a href="/p/{row}">{LANGUAGES["English"]}</a></li>' for row in range(60))
    return f"<!doctype html>\n<html><head><title>List</title></head>\n<body>\n<ul>\n{rows}\n</ul>\n</body></html>\n"


def chat() -> str:
    says = ["hi, are you there? 😀", "yes!! one minute", "ok, thanks 👍", LANGUAGES["English"]]
    return "\n".join(
        f"[10:{minute // 60:02}:{minute % 60:02}] user{minute % 3}: {says[minute % 4]}" for minute in range(240)
    )


def logs() -> str:
    chance = random.Random(4)
    lines = []
    for line in range(400):
        trace = hashlib.md5(b"%d" % line, usedforsecurity=False).hexdigest()
        at = f"2026-12-01T10:{line // 60:02}:{line % 60:02}.{chance.randrange(1000):03}Z"
        served = f"served in {chance.randrange(900)} ms from 10.0.3.{line % 250}"
        lines.append(f"{at} INFO [worker-{line % 4}] request {trace} {served}")
    return "\n".join(lines)


def rows(count: int) -> list[dict[str, object]]:
    chance = random.Random(5)
    return [
        {
            "id": row,
            "sku": f"A{chance.randrange(10**7)}",
            "price": round(chance.random() * 900, 2),
            "tags": ["new", "red"],
            "stock": None,
        }
        for row in range(count)
    ]


def compact_json(count: int = 300) -> str:
    return json.dumps(rows(count), separators=(",", ":"))


def pretty_json(count: int = 150) -> str:
    return json.dumps(rows(count), indent=2)


def csv_lines(count: int = 500) -> str:
    out = io.StringIO()
    chance = random.Random(6)
    writer = csv.writer(out)
    writer.writerow(["id", "date", "city", "amount", "code"])
    for row in range(count):
        writer.writerow(
            [
                row,
                f"2026-{row % 12 + 1:02}-{row % 28 + 1:02}",
                "Berlin",
                f"{chance.random() * 1000:.2f}",
                f"X{chance.randrange(10**6)}",
            ]
        )
    return out.getvalue()


def random_bytes(count: int) -> bytes:
    return random.Random(7).randbytes(count)


def hexadecimal(count: int = 1500) -> str:
    return random_bytes(count).hex()


def base64_text(count: int = 2000) -> str:
    return base64.b64encode(random_bytes(count)).decode()


def numbers(count: int = 400) -> str:
    chance = random.Random(8)
    return " ".join(str(chance.randrange(10**9)) for _ in range(count))


def uuids(count: int = 80) -> str:
    digest = random_bytes(16 * count).hex()
    parts = [digest[at : at + 32] for at in range(0, len(digest), 32)]
    return "\n".join(f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in parts)


def emoji() -> str:
    return "😀🎉👍❤️🚀👩‍👩‍👧🔥✨😂🙏 " * 40


def urls() -> str:
    return "\n".join(
        f"https://shop.example.com/c/{n * 37}/items?id={n * 7919}&ref=mail_{n}&utm_source=news#top" for n in range(60)
    )


def xml() -> str:
    return "".join(
        f'<row id="{n}"><price currency="EUR">{n * 1.37:.2f}</price><sku>A{n * 7919}</sku></row>' for n in range(80)
    )


DATA = {
    "hex": hexadecimal,
    "base64": base64_text,
    "numbers": numbers,
    "uuids": uuids,
    "compact JSON": compact_json,
    "pretty JSON": pretty_json,
    "CSV": csv_lines,
    "emoji": emoji,
    "logs": logs,
    "table": lambda: table(60),
    "URLs": urls,
    "XML": xml,
    "HTML": html,
    "chat": chat,
    "Markdown": markdown,
}
KINDS = {
    **{name: f"{text} " * 12 for name, text in LANGUAGES.items()},
    **{name: text * 4 for name, text in CODE.items()},
    **{name: make() for name, make in DATA.items()},
}


def repeated(name: str, times: int = 40) -> Callable[[], str]:
    """Paragraphs of one language, each a bit longer than the one before."""
    text = LANGUAGES[name]
    return lambda: "\n\n".join(f"{text} " * (1 + number % 5) for number in range(times))


def one_line() -> str:
    chance = random.Random(9)
    words = LANGUAGES["English"].split()
    return " ".join(chance.choice(words) for _ in range(500_000))[:3_000_000]


def blanks(blank: str = " ", characters: int = 2_000_000) -> str:
    return "".join(f"a{blank * length}" for length in range(int((2 * characters) ** 0.5)))


CORPUS: dict[str, Callable[[], str]] = {
    "Markdown": lambda: markdown() * 3,
    "HTML": html,
    "Python": lambda: CODE["Python"] * 20,
    "Go": lambda: CODE["Go"] * 20,
    "TypeScript": lambda: CODE["TypeScript"] * 20,
    "Japanese": repeated("Japanese"),
    "Chinese": repeated("Chinese"),
    "Korean": repeated("Korean"),
    "Thai": repeated("Thai"),
    "Arabic": repeated("Arabic"),
    "Hindi": repeated("Hindi"),
    "English": repeated("English"),
    "table": lambda: table(600),
    "chat": chat,
    "compact JSON": lambda: compact_json(1000),
    "pretty JSON": lambda: pretty_json(400),
    "CSV": lambda: csv_lines(1500),
    "logs": logs,
    "base64": lambda: base64_text(100_000),
    "emoji": lambda: emoji() * 10,
    "a line of 3 MB": one_line,
    "ever more blanks": blanks,
    "ever more newlines": lambda: blanks("\n"),
}
LARGE = {"a line of 3 MB", "ever more blanks", "ever more newlines"}
