/*
 * sdks: what the checks share: both SDKs in one shape, and how tests are run and counted.
 */
import Anthropic from '@anthropic-ai/sdk';
import assert from 'node:assert/strict';
import OpenAI from 'openai';

/* What the fake provider says to every question. */
export const TEXT = 'Hello from the fake provider.';

/* What both SDKs do, in one shape. No retries: what the daemon answers is what is seen. */
export const sdks = (stage) => ({
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
});

export async function failure(promise) {
    try {
        await promise;
    } catch (error) {
        return error;
    }
    return assert.fail('no error was raised');
}

/* Tests one after the other; a line each, at the end "N passed, N failed" and the exit status. */
export class Suite {
    constructor(stage) {
        this.stage = stage;
        this.tests = [];
    }

    add(name, run) {
        this.tests.push({ name, run });
    }

    async run() {
        let failed = 0;
        for (const { name, run } of this.tests) {
            try {
                await run();
                console.log(`ok      ${name}`);
            } catch (error) {
                failed++;
                console.log(`FAILED  ${name}\n${error.stack}`);
            }
        }
        if (failed > 0)
            console.log(this.stage.log());
        const status = await this.stage.close();
        if (status !== 0) {
            failed++;
            console.log(`FAILED  the daemon ended with ${status}`);
        }
        console.log(`${this.tests.length - failed} passed, ${failed} failed`);
        process.exitCode = failed === 0 ? 0 : 1;
    }
}
