"""Keys as people hand them over."""

import pytest

from mpengine.shared.keys import mended, scheme_of

KEY = "0a1b2c3d"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f'"{KEY}"',
        f"'{KEY}'",
        f"`{KEY}`",
        f"\u201c{KEY}\u201d",
        f"\u2018{KEY}\u2019",
        f"DEEPGRAM_API_KEY={KEY}",
        f"DEEPGRAM_API_KEY = {KEY}",
        f'DEEPGRAM_API_KEY="{KEY}"',
        f'export DEEPGRAM_API_KEY="{KEY}"',
        f"export X={KEY}",
        f"set X={KEY}",
        f"'X_Y={KEY}'",
        f"key={KEY}",
        f"Token {KEY}",
        f"token  {KEY}",
        f'"Token {KEY}"',
        f"Token '{KEY}'",
        f"Authorization: Token {KEY}",
        f'" {KEY} "',
    ],
)
def test_what_is_copied_with_a_key_is_taken_away(text):
    assert mended(text) == KEY


@pytest.mark.parametrize("text", [f"Bearer {KEY}", f"bearer   {KEY}", f'"Authorization: Bearer {KEY}"'])
def test_the_scheme_of_a_key_stays(text):
    assert mended(text) == f"Bearer {KEY}"
    assert scheme_of(mended(text)) == ("Bearer", KEY)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "k",
        "'",
        "dGVzdA==",
        "ab_cd==",
        "a_b=",
        "Token",
        "Bearer",
        "tokenize",
        "eyJhbGciOi.eyJzdWIi.c2ln",
        "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
        "D=rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7x",
        "kéy of mine",
    ],
)
def test_a_key_stays_as_it_is(key):
    assert mended(key) == key


@pytest.mark.parametrize("text", [f'"{KEY}', f'{KEY}"', f"\u201c{KEY}", f'X_Y="{KEY}', f'{KEY}" # mine', "``" + KEY])
def test_a_quote_that_is_left_is_told(text):
    with pytest.raises(ValueError, match=r"\Aexpected the key alone, without a quote in it\Z"):
        mended(text)


def test_a_temporary_token_is_told_by_its_form():
    assert scheme_of("eyJhbGciOi.eyJzdWIi.c2ln") == ("Bearer", "eyJhbGciOi.eyJzdWIi.c2ln")
    assert scheme_of("0a.1b.2c") == ("", "0a.1b.2c")
