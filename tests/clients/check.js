/*
 * check: the official npm packages `openai` and `@anthropic-ai/sdk` through the daemon, with the placeholder key
 * `claviger`: plain and streaming, a failover in the middle, exhausted pools. Prints a line a test and at the end
 * "N passed, N failed"; the exit status is 0 when all passed.
 */
import assert from 'node:assert/strict';

import { failure, sdks, Suite, TEXT } from './sdks.js';
import { Stage } from './stage.js';

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

const suite = new Suite(stage);
const test = (name, run) => suite.add(name, run);

for (const [name, sdk] of Object.entries(sdks(stage))) {
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

await suite.run();
