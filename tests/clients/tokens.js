/*
 * tokens: the official SDKs with a client's token in the place of the API key, as a team uses the daemon. The tokens
 * are made by clavigerctl. Prints as check.js does.
 */
import assert from 'node:assert/strict';

import { failure, sdks, Suite, TEXT } from './sdks.js';
import { Stage } from './stage.js';

/* k0 is rate-limited; k1 works. */
const SCRIPT = `
key sk-k0-0000000000 429 retry-after=60
key sk-own-0000000000 418
default 200
`;

const KEYS = ['sk-k0-0000000000', 'sk-k1-1111111111'];

const PROVIDERS = {
    anthropic: { type: 'anthropic', keys: KEYS },
    openai: { type: 'openai', keys: KEYS },
};

/* What stands behind NAME:HASH in the file of clients. */
const CLIENTS = { alice: '', only_anthropic: ':anthropic', only_openai: ':openai:nobyok' };

const stage = await Stage.open(SCRIPT, PROVIDERS, CLIENTS);
const suite = new Suite(stage);
const test = (name, run) => suite.add(name, run);
const { alice } = stage.tokens;

for (const [name, sdk] of Object.entries(sdks(stage))) {
    const other = stage.tokens[name === 'openai' ? 'only_anthropic' : 'only_openai'];
    const mine = stage.tokens[`only_${name}`];

    test(`${name}: a token, plain, with a failover`, async () => {
        const mark = stage.requests().length;
        assert.equal(await sdk.plain(sdk.client(name, alice)), TEXT);
        assert.deepEqual(stage.requests(mark), [`${KEYS[0]} 429`, `${KEYS[1]} 200`]);
    });

    test(`${name}: a token, streaming`, async () => {
        const mark = stage.requests().length;
        assert.equal((await sdk.stream(sdk.client(name, mine))).join(''), TEXT);
        assert.deepEqual(stage.requests(mark), [`${KEYS[1]} 200`]);
    });

    for (const [what, key, words] of [['no token', 'claviger', /gateway token is needed/],
        ['an unknown token', `${alice.slice(0, -1)}!`, /not known here/]]) {
        for (const ask of ['plain', 'stream']) {
            test(`${name}: ${what}, ${ask}: its AuthenticationError shows our message`, async () => {
                const mark = stage.requests().length;
                const error = await failure(sdk[ask](sdk.client(name, key)));
                assert.ok(error instanceof sdk.errors.AuthenticationError, String(error));
                assert.equal(error.status, 401);
                assert.match(error.message, words);
                assert.equal(error.headers.get('x-claviger-error'), 'unauthorized');
                assert.deepEqual(stage.requests(mark), []);
            });
        }
    }

    test(`${name}: a token for another provider: its PermissionDeniedError`, async () => {
        const mark = stage.requests().length;
        const error = await failure(sdk.plain(sdk.client(name, other)));
        assert.ok(error instanceof sdk.errors.PermissionDeniedError, String(error));
        assert.equal(error.status, 403);
        assert.match(error.message, /not for this provider/);
        assert.equal(error.headers.get('x-claviger-error'), 'forbidden');
        assert.deepEqual(stage.requests(mark), []);
    });

    test(`${name}: an own key needs no token`, async () => {
        const mark = stage.requests().length;
        const error = await failure(sdk.plain(sdk.client(name, 'sk-own-0000000000')));
        assert.equal(error.status, 418);
        assert.deepEqual(stage.requests(mark), ['sk-own-0000000000 418']);
    });

    test(`${name}: an own key beside a token`, async () => {
        const mark = stage.requests().length;
        const client = sdk.client(name, 'sk-own-0000000000')
            .withOptions({ defaultHeaders: { 'X-Claviger-Token': alice } });
        const error = await failure(sdk.plain(client));
        assert.equal(error.status, 418);
        assert.deepEqual(stage.requests(mark), ['sk-own-0000000000 418']);
    });
}

/* What Claude Code does with ANTHROPIC_AUTH_TOKEN. */
test('anthropic: a token in Authorization', async () => {
    const mark = stage.requests().length;
    const sdk = sdks(stage).anthropic;
    const client = new sdk.errors({ apiKey: null, authToken: alice, baseURL: stage.url('/anthropic'), maxRetries: 0 });
    assert.equal(await sdk.plain(client), TEXT);
    assert.deepEqual(stage.requests(mark), [`${KEYS[1]} 200`]);
});

test('the log has names and no token', async () => {
    await stage.awaitLog(/ alice openai POST \/openai\/v1\/chat\/completions 200 2 /);
    await stage.awaitLog(/ alice anthropic POST \/anthropic\/v1\/messages 200 1 /);
    const log = stage.log();
    assert.match(log, / alice openai POST \/openai\/v1\/chat\/completions 200 2 /);
    assert.match(log, / only_openai anthropic POST \/anthropic\/v1\/messages 403 0 /);
    assert.doesNotMatch(log, /clv_/);
});

await suite.run();
