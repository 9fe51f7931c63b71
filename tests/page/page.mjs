/*
 * page: the status page of a real daemon in a headless Chromium. Prints a line a test; the exit status is 0 when all
 * passed.
 *
 *     node page.mjs CHROMIUM DIRECTORY      the directory gets the screenshots
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import path from 'node:path';

import { Stage } from '../clients/stage.js';
import { Browser } from './devtools.mjs';
import { measure } from './measure.mjs';

const [program, dir] = process.argv.slice(2);

/* Of the first provider k0 is rate-limited, k1 refused; of the second one k0 waits until it is told to fail. */
const KEYS = ['sk-CANARY-k0-00000000aa', 'sk-CANARY-k1-00000000bb', 'sk-CANARY-k2-00000000cc', 'sk-CANARY-k3-00000000dd'];
const OTHERS = ['sk-CANARY-o0-00000000ee', 'sk-CANARY-o1-00000000ff'];
const SCRIPT = `
key ${KEYS[0]} 429 retry-after=3000
key ${KEYS[1]} 401
key ${OTHERS[0]} 200 times=2
key ${OTHERS[0]} 429 retry-after=600
default api delay=20
`;
const LONG_NAME = 'a_provider_with_a_rather_long_name_for_a_phone';
const PROVIDERS = {
    anthropic: { type: 'anthropic', keys: KEYS },
    openai: { type: 'openai', keys: OTHERS },
    [LONG_NAME]: { type: 'openai', keys: ['sk-CANARY-p0-00000000gg'] },
};

const PHONE = [390, 844, true];
const SMALL_PHONE = [320, 568, true];
const TABLET = [768, 1024, true];
const DESKTOP = [1280, 900, false];

const made = JSON.parse(execFileSync(process.env.CLAVIGERCTL, ['--json', 'token', 'admin'], { encoding: 'utf8' }));
const stage = await Stage.open(SCRIPT, PROVIDERS, undefined, `admin_token = "${made.line.split(':')[1]}"\n`);
const origin = `http://127.0.0.1:${stage.admin}`;
const browser = new Browser(program, dir);
let failed = 0;
let passed = 0;

/* Each one has a tab of its own, in which nothing may go wrong but what it expects. */
async function test(name, run, { errors = [], hosts = [origin] } = {}) {
    const begin = Date.now();
    try {
        const tab = await browser.open();
        await run(tab);
        const html = await tab.html();
        assert.ok(!html.includes('CANARY'), 'a key is in the document');
        assert.ok(!html.includes(made.token), 'the token is in the document');
        /* Whether a browser asks for an icon is its own affair. */
        const expected = [...errors, `${origin}/favicon.ico`];
        assert.deepEqual(tab.errors.filter((error) => !expected.some((part) => error.includes(part))), []);
        assert.deepEqual(tab.urls.filter((url) => !hosts.some((host) => url.startsWith(`${host}/`))), [],
            'requests to other hosts');
        await tab.send('Page.close');
        passed += 1;
        console.log(`ok    ${name} (${Date.now() - begin} ms)`);
    } catch (error) {
        failed += 1;
        console.log(`FAIL  ${name}: ${error.stack}`);
    }
}

async function ask(provider, target) {
    const answer = await fetch(stage.url(`/${provider}${target}`),
        { method: 'POST', body: JSON.stringify({ model: 'm', max_tokens: 5, messages: [] }) });
    await answer.text();
    assert.equal(answer.status, 200);
}

/* The key at that place, as the daemon tells it; the view of the database is at most a moment behind. */
async function key(provider, position) {
    const rows = await (await fetch(`${origin}/keys`)).json();
    return rows.find((row) => row.provider === provider && row.position === position);
}

const button = (action, { provider, key_id: id }) => `button[value="${action} ${provider} ${id}"]`;

/* The state that the page shows for the key of that hint. */
const shown = (hint) => `[...document.querySelectorAll('tr')].find((row) => row.textContent.includes('${hint}'))`
    + `?.querySelector('.state')?.textContent`;

try {
    for (let i = 0; i < 3; i += 1)
        await ask('anthropic', '/v1/messages');
    await ask('openai', '/v1/chat/completions');

    for (const scheme of ['dark', 'light']) {
        for (const [name, window] of Object.entries({ phone: PHONE, small: SMALL_PHONE, tablet: TABLET, desktop: DESKTOP })) {
            await test(`${name}, ${scheme}`, async (tab) => {
                await tab.look(...window, scheme);
                await tab.go(`${origin}/`);
                await tab.screenshot(path.join(dir, `${name}-${scheme}.png`));
                const found = await tab.evaluate(`(${measure})()`);
                assert.ok(found.texts > 50 && found.bars > 3, `only ${found.texts} texts and ${found.bars} bars`);
                assert.equal(found.dark, scheme === 'dark');
                assert.ok(found.width <= window[0], `${found.width} pixels wide`);
                assert.deepEqual(found.scrolled, [], 'tables that must be scrolled sideways');
                assert.deepEqual(found.cut, [], 'texts that are cut');
                assert.deepEqual(found.pale, [], 'too little contrast');
            });
        }
    }

    await test('without JavaScript', async (tab) => {
        const target = await key('anthropic', 3);
        await tab.send('Emulation.setScriptExecutionDisabled', { value: true });
        await tab.go(`${origin}/`);
        const html = await tab.html();
        for (const text of ['anthropic', LONG_NAME, target.hint, 'temporary', 'rate_limited', 'Workers', '<rect'])
            assert.ok(html.includes(text), `there is no ${text}`);
        await tab.type('input[name=token]', made.token);
        await tab.loads(() => tab.click(button('disable', target)));
        assert.equal((await key('anthropic', 3)).state, 'permanent');
        assert.ok((await tab.html()).includes(button('enable', target).slice(14, -2)));
        await tab.type('input[name=token]', made.token);
        await tab.loads(() => tab.click(button('enable', target)));
        assert.equal((await key('anthropic', 3)).state, 'valid');
    });

    await test('a mark appears by itself, and what was typed stays', async (tab) => {
        const { hint } = await key('openai', 0);
        await tab.go(`${origin}/`);
        await tab.type('input[name=token]', 'typed');
        assert.equal(await tab.evaluate(shown(hint)), 'valid');
        await tab.evaluate('window.sameDocument = true');
        await ask('openai', '/v1/chat/completions');
        await ask('openai', '/v1/chat/completions');
        await tab.until(`${shown(hint)} === 'temporary'`);
        assert.equal(await tab.evaluate('window.sameDocument'), true);
        assert.equal(await tab.evaluate('document.querySelector("input[name=token]").value'), 'typed');
    });

    await test('the token changes keys', async (tab) => {
        const [limited, refused] = [await key('anthropic', 0), await key('anthropic', 1)];
        const act = async (action, row, state) => {
            await tab.type('input[name=token]', made.token);
            await tab.loads(() => tab.click(button(action, row)));
            await tab.until(`${shown(row.hint)} === '${state}'`);
            assert.equal((await key(row.provider, row.position)).state, state);
            assert.equal(await tab.evaluate('location.href'), `${origin}/`);
        };
        await tab.go(`${origin}/`);
        assert.equal(limited.state, 'temporary');
        await act('reset', limited, 'valid');
        await act('enable', refused, 'valid');
        await act('disable', limited, 'permanent');
        await act('reset', limited, 'valid');
    });

    await test('a refresh takes no button from under a finger, nor the focus', async (tab) => {
        const row = await key('anthropic', 3);
        const refreshes = () => tab.answers.filter(({ url }) => url === `${origin}/`).length;
        await tab.go(`${origin}/`);
        await tab.type('input[name=token]', made.token);
        await tab.send('DOM.focus', { nodeId: await tab.find(button('disable', row)) });
        await tab.evaluate('window.before = document.getElementById("live")');
        await tab.until('document.getElementById("live") !== window.before');
        assert.equal(await tab.evaluate('document.activeElement.value'), `disable anthropic ${row.key_id}`);
        const release = await tab.press(button('disable', row));
        const count = refreshes();
        await tab.hears(() => refreshes() > count, 'a refresh');
        await tab.evaluate('new Promise((resolve) => { setTimeout(resolve); })');
        await tab.loads(release);
        assert.equal((await key('anthropic', 3)).state, 'permanent');
    });

    await test('no token and a wrong one change nothing', async (tab) => {
        const row = await key('anthropic', 2);
        await tab.go(`${origin}/`);
        /* The browser itself does not send the form without a token. */
        await tab.click(button('disable', row));
        assert.equal(await tab.evaluate('document.querySelector("input[name=token]").validity.valueMissing'), true);
        await tab.type('input[name=token]', 'clv_wrong');
        await tab.loads(() => tab.click(button('disable', row)));
        assert.match(await tab.evaluate('document.body.textContent'), /the token is wrong/);
        assert.deepEqual(await key('anthropic', 2), row);
        assert.ok(!tab.urls.some((url) => url.includes('clv_')), 'the token is in an address');
    }, { errors: ['403 (Forbidden)'] });

    const row = await key('anthropic', 2);
    const form = `<form method="post" action="${origin}/keys"><input name="token" value="${made.token}">`
        + `<input name="do" value="disable anthropic ${row.key_id}"></form>`
        + '<script>document.forms[0].submit()</script>';
    const stranger = http.createServer((request, answer) => {
        answer.setHeader('Content-Type', 'text/html');
        answer.setHeader('Referrer-Policy', request.url === '/secretive' ? 'no-referrer' : 'unsafe-url');
        answer.end(request.url !== '/frame' ? form : `<iframe src="${origin}/"></iframe>`);
    });
    await new Promise((resolve) => { stranger.listen(0, '127.0.0.1', resolve); });
    for (const host of ['localhost', '127.0.0.1']) {
        const elsewhere = `http://${host}:${stranger.address().port}`;
        const hosts = [origin, elsewhere];
        for (const manner of ['open', 'secretive']) { /* which says "Origin: null" */
            await test(`a form of ${host} at another port, ${manner}, changes nothing`, async (tab) => {
                await tab.send('Page.navigate', { url: `${elsewhere}/${manner}` });
                await tab.hears(() => tab.loaded === `${origin}/keys`, 'the answer to the form');
                assert.equal(tab.answers.find(({ url }) => url === `${origin}/keys`).status, 403);
                assert.deepEqual(await key('anthropic', 2), row);
            }, { errors: ['403 (Forbidden)'], hosts });
        }
        await test(`${host} at another port cannot frame it`, async (tab) => {
            await tab.go(`${elsewhere}/frame`);
            const { frameTree } = await tab.send('Page.getFrameTree');
            assert.ok((frameTree.childFrames ?? []).every(({ frame }) => !frame.url.startsWith(origin)),
                JSON.stringify(frameTree));
            assert.ok(tab.errors.some((error) => error.includes('frame-ancestors')), tab.errors.join('\n'));
        }, { errors: ['frame-ancestors'], hosts: [...hosts, 'data:image'] });
    }
    stranger.close();

    await test('a daemon that is gone', async (tab) => {
        await tab.go(`${origin}/`);
        assert.equal(await tab.evaluate('document.getElementById("lost").hidden'), true);
        stage.daemon.kill('SIGTERM');
        assert.equal(await stage.daemon.ended, 0);
        await tab.until('!document.getElementById("lost").hidden');
        assert.ok((await tab.html()).includes('rate_limited'), 'what was known last is there');
    }, { errors: ['net::ERR_CONNECTION_REFUSED'] });
} catch (error) {
    failed += 1;
    console.log(`FAIL  ${error.stack}`);
}
await browser.close();
if (failed > 0)
    console.log(stage.log());
await stage.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
