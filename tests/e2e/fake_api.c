/*
 * fake_api: answers in the shape of the Anthropic Messages API and of the OpenAI Chat Completions API, so
 * that their official clients can read them. Called by fake_conn.c. Shapes:
 * docs.anthropic.com/en/api/messages and /messages-streaming, platform.openai.com/docs/api-reference/chat.
 */
#include "e2e/fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const WORDS[] = {"Hello", " from", " the", " fake", " provider", "."};
#define WORD_COUNT (sizeof(WORDS) / sizeof(WORDS[0]))

static bool is_messages(const struct fake_entry *entry)
{
    return strstr(entry->request.target, "/messages") != NULL;
}

/* Whether the JSON body asks for a stream; white space around the colon does not matter. */
static bool wants_stream(const struct fake_entry *entry)
{
    static const char name[] = "\"stream\"";
    const char *p = entry->body.len > 0 ? strstr(entry->body.data, name) : NULL;

    if (p == NULL)
        return false;
    p += sizeof(name) - 1;
    p += strspn(p, " \t\r\n:");
    return strncmp(p, "true", 4) == 0;
}

static void put_messages(struct buf *out, bool with_text)
{
    buf_puts(out, "{\"id\":\"msg_01FakeFakeFake\",\"type\":\"message\",\"role\":\"assistant\","
                  "\"model\":\"fake-model\",\"content\":[");
    if (with_text) {
        buf_puts(out, "{\"type\":\"text\",\"text\":\"");
        for (size_t i = 0; i < WORD_COUNT; i++)
            buf_puts(out, WORDS[i]);
        buf_puts(out, "\"}");
    }
    buf_printf(out,
               "],\"stop_reason\":%s,\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,"
               "\"output_tokens\":%zu}}",
               with_text ? "\"end_turn\"" : "null", with_text ? WORD_COUNT : 1);
}

static void messages_stream(struct buf *out)
{
    buf_puts(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
    put_messages(out, false);
    buf_puts(out, "}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
                  "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
                  "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    for (size_t i = 0; i < WORD_COUNT; i++)
        buf_printf(out,
                   "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
                   "\"delta\":{\"type\":\"text_delta\",\"text\":\"%s\"}}\n\n",
                   WORDS[i]);
    buf_printf(
        out,
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
        "\"stop_sequence\":null},\"usage\":{\"output_tokens\":%zu}}\n\n"
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        WORD_COUNT);
}

static void chat_plain(struct buf *out)
{
    buf_puts(out, "{\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion\",\"created\":1700000000,"
                  "\"model\":\"fake-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                  "\"content\":\"");
    for (size_t i = 0; i < WORD_COUNT; i++)
        buf_puts(out, WORDS[i]);
    buf_printf(out,
               "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{"
               "\"prompt_tokens\":10,\"completion_tokens\":%zu,\"total_tokens\":%zu}}",
               WORD_COUNT, WORD_COUNT + 10);
}

static void chat_chunk(struct buf *out, const char *delta, const char *finish)
{
    buf_printf(out,
               "data: {\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
               "\"model\":\"fake-model\",\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,"
               "\"finish_reason\":%s}]}\n\n",
               delta, finish);
}

static void chat_stream(struct buf *out)
{
    chat_chunk(out, "\"role\":\"assistant\",\"content\":\"\"", "null");
    for (size_t i = 0; i < WORD_COUNT; i++) {
        char delta[64];

        snprintf(delta, sizeof(delta), "\"content\":\"%s\"", WORDS[i]);
        chat_chunk(out, delta, "null");
    }
    chat_chunk(out, "", "\"stop\"");
    buf_puts(out, "data: [DONE]\n\n");
}

static void error_body(struct buf *out, bool messages, int status)
{
    const char *type = status == 429   ? "rate_limit_error"
                       : status == 401 ? "authentication_error"
                       : status == 403 ? "permission_error"
                                       : "api_error";

    if (messages)
        buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"scripted %d\"}}", type,
                   status);
    else
        buf_printf(out,
                   "{\"error\":{\"message\":\"scripted %d\",\"type\":\"%s\",\"param\":null,\"code\":null}}",
                   status, type);
}

void fake_api_answer(struct fake_answer *answer, const struct fake_entry *entry, struct buf *made)
{
    bool messages = is_messages(entry);
    bool stream = wants_stream(entry);
    struct buf headers = {0};
    size_t headers_len;

    answer->action = FAKE_ANSWER;
    if (answer->status == 204 || answer->status == 304) {
        answer->framing = FAKE_UNFRAMED;
        return;
    }
    if (answer->status >= 400) {
        error_body(made, messages, answer->status);
        stream = false;
    } else if (stream) {
        if (messages)
            messages_stream(made);
        else
            chat_stream(made);
        answer->framing = FAKE_CHUNKED;
    } else if (messages) {
        put_messages(made, true);
    } else {
        chat_plain(made);
    }
    answer->body_len = made->len;
    buf_printf(&headers, "Content-Type: %s\r\n%s", stream ? "text/event-stream" : "application/json",
               answer->headers != NULL ? answer->headers : "");
    headers_len = headers.len;
    buf_putc(made, '\0');
    buf_append(made, headers.data, headers_len);
    buf_fini(&headers);
    answer->body = made->data;
    answer->headers = made->data + made->len - headers_len;
}
