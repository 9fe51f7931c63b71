/*
 * check: the official npm packages `openai` and `@anthropic-ai/sdk` through the daemon, with the placeholder key
 * `claviger`: plain and streaming, a failover in the middle, exhausted pools. Prints a line a test and at the end
 * "N passed, N failed"; the exit status is 0 when all passed.
 */
import Anthropic from '@anthropic-ai/sdk';
import assert from 'node:assert/strict';
import OpenAI from 'openai';

import { Stage } from './stage.js';

const TEXT = 'Hello from the fake provider.';
const PLACEHOLDER = 'claviger';

/* k0 works twice, then is rate-limited; k1 is refused; k2 works. */
const SCRIPT = `
key sk-a-k0-0000000000 200 times=2
key sk-a-k0-0000000000 429 retry-after=60
key sk-a-k1-1111111111 401
key sk-o-k0-0000000000 200 times=2
key sk-o-k0-0000000000 429 retry-after=60
key sk-o-k1-1111111111 401
key sk-dry-k0-00000000 429 retry-after=30
key sk-dry-k1-11111111 401
key sk-bad-k0-00000000 401
key sk-bad-k1-11111111 403
key sk-own-0000000000 429 retry-after=7
default 200
`;

const POOL = (letter) => [`sk-${letter}-k0-0000000000`, `sk-${letter}-k1-1111111111`, `sk-${letter}-k2-2222222222`];
const DRY = ['sk-dry-k0-00000000', 'sk-dry-k1-11111111'];
const BAD = ['sk-bad-k0-00000000', 'sk-bad-k1-11111111'];

const PROVIDERS = {
    anthropic: { type: 'anthropic', keys: POOL('a') },
    openai: { type: 'openai', keys: POOL('o') },
    anthropic_dry: { type: 'anthropic', keys: DRY },
    openai_dry: { type: 'openai', keys: DRY },
    anthropic_bad: { type: 'anthropic', keys: BAD },
    openai_bad: { type: 'openai', keys: BAD },
};

const stage = await Stage.open(SCRIPT, PROVIDERS);

/* What both SDKs do, in one shape. No retries: what the daemon answers is what is seen. */
const SDKS = {
    anthropic: {
        letter: 'a',
        errors: Anthropic,
        client: (route, apiKey) => new Anthropic({ apiKey, baseURL: stage.url(`/${route}`), maxRetries: 0 }),
        question: { model: 'm', max_tokens: 50, messages: [{ role: 'user', content: 'Hello?' }] },
        async plain(client) {
            const message = await client.messages.create(this.question);
            return message.content[0].text;
        },
        async stream(client) {
            const stream = client.messages.stream(this.question);
            const pieces = [];
            stream.on('text', (text) => pieces.push(text));
            const message = await stream.finalMessage();
            assert.equal(message.content[0].text, pieces.join(''));
            return pieces;
        },
    },
    openai: {
        letter: 'o',
        errors: OpenAI,
        client: (route, apiKey) => new OpenAI({ apiKey, baseURL: stage.url(`/${route}/v1`), maxRetries: 0 }),
        question: { model: 'm', messages: [{ role: 'user', content: 'Hello?' }] },
        async plain(client) {
            const completion = await client.chat.completions.create(this.question);
            return completion.choices[0].message.content;
        },
        async stream(client) {
            const pieces = [];
            for await (const chunk of await client.chat.completions.create({ ...this.question, stream: true })) {
                if (chunk.choices[0].delta.content)
                    pieces.push(chunk.choices[0].delta.content);
            }
            return pieces;
        },
    },
};

async function failure(promise) {
    try {
        await promise;
    } catch (error) {
        return error;
    }
    return assert.fail('no error was raised');
}

const tests = [];
function test(name, run) {
    tests.push({ name, run });
}

for (const [name, sdk] of Object.entries(SDKS)) {
    const key = (n) => `sk-${sdk.letter}-k${n}-${String(n).repeat(10)}`;

    test(`${name}: plain`, async () => {
        const mark = stage.requests().length;
        assert.equal(await sdk.plain(sdk.client(name, PLACEHOLDER)), TEXT);
        assert.deepEqual(stage.requests(mark), [`${key(0)} 200`]);
    });

    test(`${name}: streaming`, async () => {
        const mark = stage.requests().length;
        const pieces = await sdk.stream(sdk.client(name, PLACEHOLDER));
        assert.equal(pieces.join(''), TEXT);
        assert.ok(pieces.length > 1);
        assert.deepEqual(stage.requests(mark), [`${key(0)} 200`]);
    });

    test(`${name}: streaming with a failover in the middle`, async () => {
        const mark = stage.requests().length;
        const pieces = await sdk.stream(sdk.client(name, PLACEHOLDER));
        assert.equal(pieces.join(''), TEXT);
        assert.deepEqual(stage.requests(mark), [`${key(0)} 429`, `${key(1)} 401`, `${key(2)} 200`]);
    });

    test(`${name}: plain after the failover`, async () => {
        const mark = stage.requests().length;
        assert.equal(await sdk.plain(sdk.client(name, PLACEHOLDER)), TEXT);
        assert.deepEqual(stage.requests(mark), [`${key(2)} 200`]);
    });

    for (const [how, ask] of [['plain', 'plain'], ['streaming', 'stream']]) {
        test(`${name}: exhausted pool, ${how}: its RateLimitError shows our message`, async () => {
            const error = await failure(sdk[ask](sdk.client(`${name}_dry`, PLACEHOLDER)));
            assert.ok(error instanceof sdk.errors.RateLimitError, String(error));
            assert.equal(error.status, 429);
            assert.match(error.message, new RegExp(`provider ${name}_dry`));
            assert.match(error.message, /rate-limited/);
            assert.equal(error.headers.get('x-claviger-error'), 'keys_exhausted');
            assert.ok(Number(error.headers.get('retry-after')) >= 1);
            assert.ok(Number(error.headers.get('retry-after')) <= 30);
        });
    }

    test(`${name}: a pool whose keys were all refused: its InternalServerError`, async () => {
        const error = await failure(sdk.plain(sdk.client(`${name}_bad`, PLACEHOLDER)));
        assert.ok(error instanceof sdk.errors.InternalServerError, String(error));
        assert.equal(error.status, 502);
        assert.match(error.message, new RegExp(`provider ${name}_bad`));
        assert.equal(error.headers.get('x-claviger-error'), 'keys_rejected');
    });

    test(`${name}: an own key reaches the provider, its answer the client`, async () => {
        const mark = stage.requests().length;
        const error = await failure(sdk.plain(sdk.client(name, 'sk-own-0000000000')));
        assert.ok(error instanceof sdk.errors.RateLimitError, String(error));
        assert.match(error.message, /scripted 429/);
        assert.equal(error.headers.get('x-claviger-error'), null);
        assert.equal(error.headers.get('retry-after'), '7');
        assert.deepEqual(stage.requests(mark), ['sk-own-0000000000 429']);
    });
}

let failed = 0;
for (const { name, run } of tests) {
    try {
        await run();
        console.log(`ok      ${name}`);
    } catch (error) {
        failed++;
        console.log(`FAILED  ${name}\n${error.stack}`);
    }
}
if (failed > 0)
    console.log(stage.log());
const status = await stage.close();
if (status !== 0) {
    failed++;
    console.log(`FAILED  the daemon ended with ${status}`);
}
console.log(`${tests.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
