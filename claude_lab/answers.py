"""The built-in answers: text worth reading about streams, retries and proxies, chosen by the words of the prompt."""

from __future__ import annotations

STREAMING = """\
A streamed answer is one HTTP response that takes its time. The server sends its head at once, then a small block of \
text for every few tokens, and each block ends with an empty line. That empty line is the whole trick: a reader that \
waits for it can cut the bytes wherever the network cut them and still see whole events.

What you gain is not speed. The last word arrives no sooner than before; the first one arrives after a fraction of a \
second instead of ten. People start reading at once, notice a wrong turn early, and press Stop before they have paid \
for the rest. ⏱️

What you take on is a new kind of failure. A response that has begun with status 200 can still break in the middle, \
and nothing in the status line will say so. A stream is complete when its final event says it is, and not before."""

RETRYING = """\
Retry what may pass, give up on what will not. A 429 says you came too fast and a 529 says everyone did; both pass. \
A 401 never does, however politely you ask again.

Wait longer after each failure, because the server's trouble is measured in seconds and yours in microseconds. Then \
blur the wait with a random factor: a hundred clients that failed together and all wait exactly two seconds will fail \
together again. 🎲 When the server names a time in `retry-after`, treat it as the earliest moment, not as an \
appointment that everybody keeps.

Count attempts in one place only. Three attempts around a client that makes three of its own are nine requests, and \
they arrive just when the server can least afford them. And once the first word has been shown, a plain retry would \
show it twice: from there on you continue or start over, visibly."""

BUFFERING = """\
Somewhere between the model and the screen sits a proxy, and a proxy likes to collect. nginx reads the response into \
a buffer of a page or two and passes it on when the buffer is full, which is kind to slow clients and fatal for a \
stream: forty small events fit into one page, so all of them arrive together at the end.

The cure is one line. `proxy_buffering off` does it in the configuration, and the response header \
`X-Accel-Buffering: no` does it from the application, for this response alone. Then look at the hops you forgot: \
compression collects too, so does a CDN, and so does a helpful framework that wants to know the length first. 📦

To find the hop that holds your tokens, ask each of them the same question and compare the staircases of arrival. A \
stream climbs in small even steps. A buffer shows a cliff."""

SKY = """\
Sunlight holds all colors, and air does not treat them alike. The molecules of nitrogen and oxygen are far smaller \
than a wave of light, and such small things scatter short waves much more than long ones: the strength goes with one \
over the wavelength to the fourth power. Blue light, at 450 nanometers, is scattered about four times as much as red \
at 650.

So when you look away from the sun you see light that has bounced off the air on its way, and most of that is blue. 🌤️ \
Violet is scattered even more, but the sun sends less of it and our eyes hardly care for it.

At sunset the light has crossed forty times as much air to reach you. The blue has gone to make somebody else's \
afternoon, and what is left is red. 🌇"""

HELLO = """\
Hello! 👋 I am a fake: a small program on your own machine that speaks the Messages API. I cannot think, but I can \
stream, pause, stutter, refuse and break off in the middle of a word, and I do it on cue and the same way every time.

Ask me about streaming, about retries, or about what a proxy does to a stream, and watch how the words arrive while \
you read them."""

TOKENS = """\
A model does not write letters or words but tokens, pieces of three or four letters that it learned from its reading. \
"stream" is one token, "streaming" may be two, and an emoji such as 🧑‍🚀 takes several: it is three characters in \
a trench coat, joined by one that nobody sees.

That matters as soon as you cut. A delta carries a few tokens and always whole characters, but the network \
cuts bytes, and é, 漢 and 🚀 take two, three and four of them. Decode each chunk on its own and one day the cut falls \
inside a character. Decode the stream and it never does.

Tokens are also what you pay for and what limits count: those you send, those you receive, and, at a lower price, \
those the cache remembered."""

CACHE = """\
A prompt cache remembers prefixes. Mark the end of the part that stays the same, the tools, the instructions, the long \
document, and the second request that begins with exactly those bytes pays a tenth for them and waits less for its \
first word.

You can see it before the first word appears: the very first event of the stream carries `cache_read_input_tokens`. \
Zero means that something in front of your mark has changed. A date in the system prompt is the usual culprit. 🕵️

The memory lasts five minutes from its last use, or an hour if you ask for it and pay more for the writing."""

RESUMING = """\
A stream that breaks has two lives: what was sent, and what was seen. Number the events, keep them for a while, and a \
reader who comes back with the last number it saw can be given exactly the rest, no word lost and none twice.

The API itself keeps no such log, so the server in front of it must: one list that only grows, written by the task \
that talks to the model and read by whoever is connected. The reader may come and go; the writer does not care. 📜

When it is the model's own stream that broke, nobody has the rest. Then you may ask the model to continue from where \
it stopped, mark the seam, and accept that it is a new sentence by the same author."""

DEFAULT = """\
Here is the short version. Start with the smallest thing that could work, look at what it really does, and change one \
knob at a time. Most surprises live at the edges: the first byte, the last byte, and the moment when somebody closes \
the window. 🔍

Write down what you expect before you run it. If the picture agrees, you have learned that you understood; if it does \
not, you have learned something better. Either way the picture is yours, and you can run it again.

Then break it on purpose. A system you have only seen working is one you do not know yet, and a laptop is a far \
cheaper place to meet its failures than production on a Friday evening."""

THINKING = """\
The question is about how this behaves, so an example will serve better than a definition. First what happens, then \
why, then what to do about it. Keep it short."""

KEYWORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("resum", "last-event-id", "reconnect"), RESUMING),
    (("cache", "caching"), CACHE),
    (("nginx", "buffer", "proxy"), BUFFERING),
    (("retr", "backoff", "jitter", "429", "529", "rate limit", "overload"), RETRYING),
    (("token", "unicode", "emoji"), TOKENS),
    (("stream", "sse", "delta"), STREAMING),
    (("sky", "blue", "sunset"), SKY),
    (("hello", "hallo", " hi ", " hey ", "who are you"), HELLO),
)


def pick(prompt: str) -> str:
    """Return the answer whose keyword comes first in the table and occurs in the prompt; else the general one."""
    words = f" {prompt.lower()} "
    return next((answer for keys, answer in KEYWORDS if any(key in words for key in keys)), DEFAULT)


def fill(text: str, words: int) -> str:
    """Return the text over and over until it has at least so many words: for answers of a wanted length."""
    have = max(1, len(text.split()))
    return "\n\n".join([text] * -(-words // have))
