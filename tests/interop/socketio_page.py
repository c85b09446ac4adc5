"""The page of examples/socketio in two headless Chromiums."""

import asyncio
import json

from browser import SCREENSHOTS, Browser, Page
from chat import LOADED
from peer import TIMEOUT, equal
from socketio_peer import HERE, Chat

__all__ = ["HERE", "run"]

# What a page knows is read off what it shows. Settles when `condition` holds; a JavaScript promise, so nothing here polls.
UNTIL = """new Promise(resolve => {
    const texts = selector => Array.from(document.querySelectorAll(selector), node => node.textContent);
    const said = () => texts('#log > :not([hidden]) .text'), people = () => texts('#people button > span:nth-child(2)');
    const shown = id => document.getElementById(id).textContent;
    const state = () => `${document.getElementById('state').dataset.state} ${shown('transport')}`;
    const look = () => { if (%s) { observer.disconnect(); resolve({said: said(), people: people()}); } };
    const observer = new MutationObserver(look);
    observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    look();
})"""

# A picture, so that the screenshot has one: a bowline on a sunny day.
PICTURE = """(async () => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 420, height: 200});
    const to = canvas.getContext('2d'), sky = to.createLinearGradient(0, 0, 0, 200);
    sky.addColorStop(0, '#8fb8ff'); sky.addColorStop(.65, '#ffe3c2'); sky.addColorStop(.651, '#2f6f9f'); sky.addColorStop(1, '#174a73');
    to.fillStyle = sky; to.fillRect(0, 0, 420, 200);
    to.fillStyle = '#fff6d8'; to.beginPath(); to.arc(330, 62, 26, 0, 7); to.fill();
    to.fillStyle = '#ffffff'; to.beginPath(); to.moveTo(150, 128); to.lineTo(150, 30); to.lineTo(215, 128); to.fill();
    to.fillStyle = '#f2d5c4'; to.beginPath(); to.moveTo(142, 128); to.lineTo(142, 52); to.lineTo(98, 128); to.fill();
    to.fillStyle = '#5a3326'; to.beginPath(); to.moveTo(84, 134); to.lineTo(230, 134); to.lineTo(206, 158); to.lineTo(108, 158); to.fill();
    const data = await new Promise(resolve => canvas.toBlob(resolve, 'image/png'));
    await sendFile(new File([data], 'harbour.png', {type: 'image/png'}));
    return data.size;
})()"""


async def until(page, condition):
    try:
        return await asyncio.wait_for(page.evaluate(UNTIL % condition), TIMEOUT)
    except TimeoutError:
        raise AssertionError(f"never: {condition}; the page says {await page.evaluate('document.body.innerText')!r}")


async def ask_to_enter(browser, url, name):
    page = await Page.open(browser, url)
    await page.evaluate(LOADED)
    await page.evaluate(
        f"(document.getElementById('name').value = {json.dumps(name)}, document.querySelector('#enter form').requestSubmit(), true)"
    )
    return page


async def enter(browser, url, name):
    page = await ask_to_enter(browser, url, name)
    # Polling comes first. In the end it is a WebSocket.
    await until(page, "state() === 'online websocket' && people().length > 0")
    return page


async def say(page, text):
    await page.evaluate(
        f"(document.getElementById('say').value = {json.dumps(text)}, document.getElementById('composer').requestSubmit(), true)"
    )


def has(*texts):
    return f"JSON.stringify(said()) === JSON.stringify({json.dumps(texts)})"


async def two_pages_talk(server, browsers):
    ada = await enter(browsers[0], server.page, "Ada")
    bob = await enter(browsers[1], server.page, "Bob")
    await until(ada, "people().join() === 'Ada,Bob'")
    talk = [(ada, "Is the new server up?"), (bob, "Since this morning. Socket.IO clients did not notice a thing"),
            (ada, "Polling first, then the upgrade?"), (bob, "Yes, and here is where I am meanwhile")]  # fmt: skip
    for i, (page, text) in enumerate(talk):
        await say(page, text)
        for each in ada, bob:
            await until(each, has(*(text for _, text in talk[: i + 1])))
    assert await bob.evaluate(PICTURE) > 0
    await until(ada, "document.querySelector('.text img')")
    width = "(image => image.decode().then(() => image.naturalWidth))(document.querySelector('.text img'))"
    equal(await ada.evaluate(width), 420)
    text = "<img src=x onerror=\"document.title='caught'\"> stays text"
    await say(ada, text)
    await until(bob, f"said().includes({json.dumps(text)})")
    assert "caught" not in await bob.evaluate("document.title"), "a script ran"
    await say(bob, "Nice try")
    await until(ada, "said().includes('Nice try')")
    # The server asks Bob's page, which answers by itself.
    await ada.evaluate("(document.querySelector('#people button:not(:disabled)').click(), true)")
    await until(ada, "document.querySelector('#people button:not(:disabled) small').textContent === 'is looking'")
    await bob.evaluate("(document.getElementById('say').value = 'W', document.getElementById('say').oninput(), true)")
    await until(ada, "shown('typing') === 'Bob is typing…'")
    await ada.screenshot(SCREENSHOTS / "socketio_ada.png")
    await bob.screenshot(SCREENSHOTS / "socketio_bob.png")


async def pages_in_different_rooms(server, browsers):
    ada = await enter(browsers[0], server.page, "Ada")
    bob = await enter(browsers[1], server.page, "Bob")
    await bob.evaluate("(document.getElementById('other').value = 'boats', document.getElementById('other-room').requestSubmit(), true)")
    await until(bob, "shown('title') === 'boats' && people().join() === 'Bob'")
    await say(bob, "alone")
    await say(ada, "in the lobby")
    # The message is in the other room, and the list of rooms shows that there is one.
    await until(bob, f"document.querySelector('#rooms .fresh')?.textContent === '# lobby' && {has('alone')}")
    await bob.evaluate("(document.querySelector('#rooms .fresh').click(), true)")
    await until(bob, has("in the lobby"))
    await until(ada, has("in the lobby"))


async def who_may_not_come_in(server, browsers):
    await enter(browsers[0], server.page, "Ada")
    page = await ask_to_enter(browsers[1], server.page, "Ada")
    await until(page, "shown('problem') === 'somebody here is called Ada already'")
    with Chat("--token", "secret") as guarded:
        page = await ask_to_enter(browsers[1], guarded.page, "Ada")
        await until(page, "shown('problem').includes('token') && !document.getElementById('token-label').hidden")
        await page.evaluate("(document.getElementById('token').value = 'secret', document.querySelector('#enter form').requestSubmit(), true)")
        await until(page, "state() === 'online websocket'")


async def the_server_restarts(server, browsers):
    ada = await enter(browsers[0], server.page, "Ada")
    bob = await enter(browsers[1], server.page, "Bob")
    await say(ada, "before")
    await until(bob, has("before"))
    equal(await asyncio.to_thread(server.interrupt), 0)
    for page in ada, bob:
        await until(page, "state().startsWith('waiting')")
    await say(ada, "written meanwhile")
    with Chat(listen=server.address):
        for page in ada, bob:
            await until(page, "state() === 'online websocket' && people().join() === 'Ada,Bob'")
        # It is sent now. Bob has it if he was back by then: there is no history.
        await until(ada, "!document.querySelector('.waiting, .fate')")
        await say(bob, "after")
        await until(ada, has("before", "written meanwhile", "after"))


CASES = [two_pages_talk, pages_in_different_rooms, who_may_not_come_in, the_server_restarts]


async def run(checks):
    async with Browser() as first, Browser() as second:
        for case in CASES:
            title = f"chromium: {case.__name__}"
            try:
                with Chat() as server:
                    await asyncio.wait_for(case(server, [first, second]), 3 * TIMEOUT)
            except Exception as error:
                checks.report(title, error)
            else:
                checks.report(title)
