/*
 * devtools: a headless Chromium and its DevTools protocol over a pipe
 * (https://chromedevtools.github.io/devtools-protocol/). Messages are JSON and end with a NUL.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const LIMIT_MS = 15000;

const FLAGS = ['--headless=new', '--remote-debugging-pipe', '--no-first-run', '--no-default-browser-check',
    '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update',
    '--disable-default-apps', '--disable-extensions', '--disable-sync', '--metrics-recording-only', '--mute-audio',
    '--no-proxy-server', '--hide-scrollbars', '--force-color-profile=srgb', 'about:blank'];

/* Gives up after a while, and says on what. */
export function bounded(promise, what) {
    let timer;
    const late = new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: not within ${LIMIT_MS} ms`)), LIMIT_MS);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Browser {
    /* program: Chromium's; dir: an empty directory for all that it writes. */
    constructor(program, dir) {
        const log = fs.openSync(path.join(dir, 'chromium.log'), 'w');
        const root = process.getuid() === 0 ? ['--no-sandbox'] : [];
        this.pending = new Map();
        this.listeners = new Set();
        this.last = 0;
        this.rest = '';
        this.child = spawn(program, [`--user-data-dir=${path.join(dir, 'profile')}`, ...root, ...FLAGS],
            { stdio: ['ignore', log, log, 'pipe', 'pipe'], env: { ...process.env, HOME: dir } });
        fs.closeSync(log);
        this.ended = new Promise((resolve) => {
            this.child.on('error', resolve);
            this.child.on('exit', (code, signal) => resolve(new Error(`Chromium has ended: ${signal ?? code}`)));
        });
        this.ended.then((error) => this.pending.forEach(({ reject }) => reject(error)));
        this.child.stdio[3].on('error', () => {});
        this.child.stdio[4].setEncoding('utf8');
        this.child.stdio[4].on('data', (text) => this.hear(text));
    }

    hear(text) {
        const messages = (this.rest + text).split('\0');
        this.rest = messages.pop();
        for (const message of messages.map((one) => JSON.parse(one))) {
            const asked = this.pending.get(message.id);
            this.pending.delete(message.id);
            if (asked === undefined)
                [...this.listeners].forEach((listener) => listener(message));
            else if (message.error)
                asked.reject(new Error(`${asked.method}: ${message.error.message}`));
            else
                asked.resolve(message.result);
        }
    }

    send(method, params = {}, sessionId = undefined) {
        this.last += 1;
        const id = this.last;
        const answer = new Promise((resolve, reject) => this.pending.set(id, { method, resolve, reject }));
        this.child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
        return bounded(answer, method);
    }

    async open() {
        const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
        const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
        const tab = new Tab(this, sessionId);
        for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'DOM'])
            await tab.send(`${domain}.enable`);
        return tab;
    }

    async close() {
        await this.send('Browser.close').catch(() => this.child.kill('SIGKILL'));
        await bounded(this.ended, 'the end of Chromium').catch(() => this.child.kill('SIGKILL'));
    }
}

/* A page, and what went wrong in it. */
export class Tab {
    constructor(browser, sessionId) {
        this.browser = browser;
        this.sessionId = sessionId;
        this.errors = []; /* of the console and of scripts */
        this.urls = [];   /* that it asked for */
        this.answers = []; /* to those: url and status */
        this.at = '';      /* the document that is shown */
        this.loaded = '';  /* the last one whose loading has ended */
        browser.listeners.add((message) => {
            if (message.sessionId === sessionId)
                this.note(message.method, message.params);
        });
    }

    note(method, params) {
        if (method === 'Runtime.exceptionThrown')
            this.errors.push(`exception: ${JSON.stringify(params.exceptionDetails)}`);
        else if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type))
            this.errors.push(`console: ${JSON.stringify(params.args)}`);
        else if (method === 'Log.entryAdded' && ['error', 'warning'].includes(params.entry.level))
            this.errors.push(`log: ${params.entry.text} ${params.entry.url ?? ''}`);
        else if (method === 'Network.requestWillBeSent')
            this.urls.push(params.request.url);
        else if (method === 'Network.responseReceived')
            this.answers.push({ url: params.response.url, status: params.response.status });
        else if (method === 'Page.frameNavigated' && params.frame.parentId === undefined)
            this.at = params.frame.url;
        else if (method === 'Page.loadEventFired')
            this.loaded = this.at;
    }

    send(method, params) {
        return this.browser.send(method, params, this.sessionId);
    }

    event(method) {
        return bounded(new Promise((resolve) => {
            const listener = (message) => {
                if (message.sessionId !== this.sessionId || message.method !== method)
                    return;
                this.browser.listeners.delete(listener);
                resolve(message.params);
            };
            this.browser.listeners.add(listener);
        }), method);
    }

    /* Waits until it is so, looking whenever something has happened. */
    hears(condition, what) {
        return bounded(new Promise((resolve) => {
            const look = () => {
                if (!condition())
                    return;
                this.browser.listeners.delete(look);
                resolve();
            };
            this.browser.listeners.add(look);
            look();
        }), what);
    }

    /* Does what loads another page, and waits until it is loaded. */
    async loads(action) {
        const loaded = this.event('Page.loadEventFired');
        await action();
        await loaded;
    }

    async go(url) {
        await this.loads(async () => {
            const { errorText } = await this.send('Page.navigate', { url });
            if (errorText)
                throw new Error(`${url}: ${errorText}`);
        });
    }

    /* The value of an expression in the page, or of the promise that it is. */
    async evaluate(expression) {
        const { result, exceptionDetails } = await this.send('Runtime.evaluate',
            { expression, awaitPromise: true, returnByValue: true });
        if (exceptionDetails)
            throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    }

    /* Waits until the expression is true in the page, looking whenever its DOM changes. */
    until(expression) {
        return this.evaluate(`new Promise((resolve, reject) => {
            const look = () => { if (${expression}) { observer.disconnect(); resolve(true); } };
            const observer = new MutationObserver(look);
            observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
            setTimeout(() => reject(new Error(${JSON.stringify(`not within the time: ${expression}`)})), 10000);
            look();
        })`);
    }

    /* The document as it is now; works without scripts too. */
    async html() {
        const { root } = await this.send('DOM.getDocument');
        return (await this.send('DOM.getOuterHTML', { nodeId: root.nodeId })).outerHTML;
    }

    async find(selector) {
        const { root } = await this.send('DOM.getDocument');
        const { nodeId } = await this.send('DOM.querySelector', { nodeId: root.nodeId, selector });
        if (nodeId === 0)
            throw new Error(`there is no ${selector}`);
        return nodeId;
    }

    async type(selector, text) {
        await this.send('DOM.focus', { nodeId: await this.find(selector) });
        await this.send('Input.insertText', { text });
    }

    /* Presses the mouse's button there; the function that is returned lets it go. */
    async press(selector) {
        const nodeId = await this.find(selector);
        await this.send('DOM.scrollIntoViewIfNeeded', { nodeId });
        const [quad] = (await this.send('DOM.getContentQuads', { nodeId })).quads;
        const at = { x: (quad[0] + quad[4]) / 2, y: (quad[1] + quad[5]) / 2, button: 'left', clickCount: 1 };
        await this.send('Input.dispatchMouseEvent', { type: 'mousePressed', ...at });
        return () => this.send('Input.dispatchMouseEvent', { type: 'mouseReleased', ...at });
    }

    async click(selector) {
        const release = await this.press(selector);
        await release();
    }

    /* scheme: dark or light. */
    async look(width, height, mobile, scheme) {
        await this.send('Emulation.setDeviceMetricsOverride', { width, height, mobile, deviceScaleFactor: mobile ? 2 : 1 });
        await this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    }

    async screenshot(file) {
        const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
        fs.writeFileSync(file, Buffer.from(data, 'base64'));
    }
}
