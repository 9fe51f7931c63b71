/*
 * stage: the fake provider and the daemon, started for a test and stopped after it. The binaries are $FAKEPROVIDER,
 * $CLAVIGERD and $CLAVIGERCTL.
 */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const TIMEOUT_MS = 20000;

async function until(what, condition) {
    const end = Date.now() + TIMEOUT_MS;
    while (!(await condition())) {
        if (Date.now() > end)
            throw new Error(`${what}: not within ${TIMEOUT_MS} ms`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

function freePort() {
    return new Promise((resolve, reject) => {
        const server = net.createServer();
        server.on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}

function start(program, args, logPath) {
    const log = fs.openSync(logPath, 'a');
    const child = spawn(program, args, { stdio: ['ignore', log, log] });
    fs.closeSync(log);
    child.ended = new Promise((resolve) => {
        child.on('error', (error) => resolve(error));
        child.on('exit', (code, signal) => resolve(signal ?? code));
    });
    child.ended.then((how) => { child.how = how; });
    return child;
}

async function stop(child) {
    if (child === undefined)
        return undefined;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
    const how = await child.ended;
    clearTimeout(timer);
    return how;
}

/* What would steer the SDKs or the daemon, or show them real keys. */
function cleanEnvironment() {
    for (const name of Object.keys(process.env)) {
        if (/_proxy$/i.test(name) || /^(ANTHROPIC|OPENAI)_/.test(name))
            delete process.env[name];
    }
}

export class Stage {
    /* script: lines for the fake provider. providers: { name: { type, keys } }. clients: { name: rights }, what stands
       behind NAME:HASH; their tokens are in `tokens` then. Without it there is no file of clients. more: further lines
       of the configuration. */
    static async open(script, providers, clients, more = '') {
        const stage = new Stage();
        cleanEnvironment();
        stage.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'claviger-clients.'));
        try {
            await stage.startFake(script);
            stage.makeTokens(clients ?? {});
            await stage.startDaemon(providers, clients !== undefined, more);
        } catch (error) {
            console.error(stage.log());
            await stage.close();
            throw error;
        }
        return stage;
    }

    file(name) {
        return path.join(this.dir, name);
    }

    async startFake(script) {
        fs.writeFileSync(this.file('script'), script);
        this.fake = start(process.env.FAKEPROVIDER ?? './fakeprovider',
            ['--script', this.file('script'), '--port-file', this.file('port'), '--log', this.file('requests')],
            this.file('fake.log'));
        await until('the fake provider', () => {
            if (this.fake.how !== undefined)
                throw new Error(`the fake provider ended: ${this.fake.how}`);
            return fs.existsSync(this.file('port'));
        });
        this.upstream = Number(fs.readFileSync(this.file('port'), 'utf8'));
    }

    makeTokens(clients) {
        const made = Object.entries(clients).map(([name, rights]) => {
            const text = execFileSync(process.env.CLAVIGERCTL ?? './clavigerctl', ['--json', 'token', name]);
            return { rights, ...JSON.parse(text) };
        });
        this.tokens = Object.fromEntries(made.map(({ name, token }) => [name, token]));
        fs.writeFileSync(this.file('clients'), made.map(({ line, rights }) => `${line}${rights}\n`).join(''));
    }

    async startDaemon(providers, tokens, more) {
        this.port = await freePort();
        this.admin = await freePort();
        let conf = `listen = {"127.0.0.1:${this.port}"}\nadmin_listen = {"127.0.0.1:${this.admin}"}\nworkers = 2\n`
            + `state_db = "${this.file('state.db')}"\npid_file = "${this.file('pid')}"\n`
            + `control = "${this.file('control')}"\n`
            + (tokens ? `clients = "${this.file('clients')}"\n` : '') + more;
        for (const [name, { type, keys }] of Object.entries(providers)) {
            conf += `provider ${name} {\n    type = ${type}\n    base_url = "http://127.0.0.1:${this.upstream}"\n`
                + `    keys = {${keys.map((key) => `"${key}"`).join(', ')}}\n}\n`;
        }
        fs.writeFileSync(this.file('conf'), conf);
        this.daemon = start(process.env.CLAVIGERD ?? './clavigerd', ['-c', this.file('conf')],
            this.file('daemon.log'));
        await until('the daemon', async () => {
            if (this.daemon.how !== undefined)
                throw new Error(`the daemon ended: ${this.daemon.how}`);
            try {
                return (await fetch(`http://127.0.0.1:${this.admin}/readyz`)).status === 200;
            } catch {
                return false;
            }
        });
    }

    url(rest) {
        return `http://127.0.0.1:${this.port}${rest}`;
    }

    /* What the fake provider got from the mark on: "KEY STATUS" a request. */
    requests(mark = 0) {
        if (!fs.existsSync(this.file('requests')))
            return [];
        return fs.readFileSync(this.file('requests'), 'utf8').split('\n').filter(Boolean).slice(mark).map((line) => {
            const [, , key, , , status] = line.split(' ');
            return `${key} ${status}`;
        });
    }

    log() {
        return ['fake.log', 'daemon.log'].map((name) => (fs.existsSync(this.file(name))
            ? fs.readFileSync(this.file(name), 'utf8') : '')).join('');
    }

    /* Lines of requests are gathered for a moment before they are written. */
    async awaitLog(pattern) {
        for (let tries = 0; !pattern.test(this.log()) && tries < 1000; tries++) {
            await new Promise((resolve) => setTimeout(resolve, 10));
        }
    }

    /* The daemon's exit status. */
    async close() {
        const how = await stop(this.daemon);
        await stop(this.fake);
        fs.rmSync(this.dir, { recursive: true });
        return how;
    }
}
