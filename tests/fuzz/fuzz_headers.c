/* Targets for what judges and changes lists of header fields. */
#include "core/credential.h"
#include "core/forwarded.h"
#include "core/http_rules.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <strings.h>

void fuzz_header(const uint8_t *data, size_t size)
{
    static const char *const protect[] = {"X-Api-Key", "Authorization", NULL};
    struct fuzz_reader reader;
    struct header_list in = {0};
    struct header_list out = {0};
    int64_t number;

    fuzz_reader_init(&reader, data, size);
    fuzz_headers(&reader, &in);
    FUZZ_MUST(header_copy_end_to_end(&in, protect, &out) == 0);
    FUZZ_MUST(out.count <= in.count);
    for (size_t i = 0; i < out.count; i++)
        FUZZ_MUST(!header_is_hop_by_hop(out.items[i].name) && !header_is(&out.items[i], "Content-Length"));
    for (size_t i = 0; protect[i] != NULL; i++)
        FUZZ_MUST(header_count(&out, protect[i]) == header_count(&in, protect[i]));
    for (size_t i = 0; i < in.count; i++) {
        const struct header *h = &in.items[i];
        header_value_has_token(h->value, "chunked");
        header_value_has_token(h->value, h->name);
        if (header_parse_content_length(h->value, &number))
            FUZZ_MUST(number >= 0 && strspn(h->value, "0123456789") == strlen(h->value));
        if (header_name_is_token(h->name, h->name_len))
            FUZZ_MUST(header_value_is_clean(h->name, h->name_len));
    }
    while (in.count > 0) {
        const char *name = in.items[in.count / 2].name;
        size_t before = in.count;
        size_t count = header_count(&in, name);
        FUZZ_MUST(count > 0 && header_find(&in, name) != NULL && header_remove(&in, name) == count);
        FUZZ_MUST(in.count == before - count && header_find(&in, name) == NULL);
    }
    header_list_fini(&in);
    header_list_fini(&out);
    fuzz_reader_fini(&reader);
}

static void check_framing(const struct header_list *headers, const struct http_framing *framing)
{
    size_t lengths = header_count(headers, "Content-Length");
    size_t codings = header_count(headers, "Transfer-Encoding");
    FUZZ_MUST(lengths + codings <= 1);
    FUZZ_MUST(framing->has_body == (lengths + codings == 1));
    FUZZ_MUST(framing->chunked == (codings == 1));
    FUZZ_MUST(framing->content_length >= -1 && (framing->content_length >= 0) == (lengths == 1));
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *h = &headers->items[i];
        FUZZ_MUST(header_name_is_token(h->name, h->name_len) &&
                  header_value_is_clean(h->value, h->value_len));
    }
}

void fuzz_http_rules(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct header_list headers = {0};
    struct http_request_head head = {.headers = &headers};
    struct http_framing framing;
    const char *reason = NULL;

    fuzz_reader_init(&reader, data, size);
    head.method = fuzz_line(&reader);
    head.version = fuzz_line(&reader);
    head.target = fuzz_line(&reader);
    fuzz_headers(&reader, &headers);
    if (http_rules_judge(&head, &framing, &reason) == HTTP_OK) {
        FUZZ_MUST(head.target[0] == '/' && head.method[0] != '\0');
        FUZZ_MUST(strcmp(head.version, "HTTP/1.1") == 0 || strcmp(head.version, "HTTP/1.0") == 0);
        FUZZ_MUST(header_count(&headers, "Host") == 1 ||
                  (header_count(&headers, "Host") == 0 && strcmp(head.version, "HTTP/1.0") == 0));
        check_framing(&headers, &framing);
    } else {
        FUZZ_MUST(reason != NULL);
    }
    header_list_fini(&headers);
    fuzz_reader_fini(&reader);
}

static void copy_list(const struct header_list *from, struct header_list *to)
{
    header_list_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        const struct header *h = &from->items[i];
        FUZZ_MUST(header_add(to, h->name, h->name_len, h->value, h->value_len) == 0);
    }
}

/* Nobody has a hash of zeros: every token is unknown, but there is somebody to compare it with. */
static void judge_with_clients(const struct provider *p, const struct header_list *headers,
                               enum credential_kind without)
{
    static char name[] = "alice";
    struct client_entry alice = {.name = name, .byok = true};
    struct client_list clients = {&alice, 1};
    const struct client_entry *client;
    enum credential_kind kind = credential_judge(p, &clients, headers, &client);

    FUZZ_MUST(client == NULL);
    FUZZ_MUST(kind == (without == CREDENTIAL_CENTRALIZED ? CREDENTIAL_NO_TOKEN : without));
}

void fuzz_credential(const uint8_t *data, size_t size)
{
    const struct client_entry *client;
    struct fuzz_reader reader;
    struct provider_list providers = fuzz_providers();
    struct header_list headers = {0};
    struct header_list copy = {0};

    fuzz_reader_init(&reader, data, size);
    fuzz_headers(&reader, &headers);
    for (size_t i = 0; i < providers.count; i++) {
        const struct provider *p = &providers.items[i];
        enum credential_kind kind = credential_judge(p, NULL, &headers, &client);

        FUZZ_MUST(client == NULL);
        FUZZ_MUST((credential_refusal(kind) == NULL) ==
                  (kind == CREDENTIAL_BYOK || kind == CREDENTIAL_CENTRALIZED));
        judge_with_clients(p, &headers, kind);
        FUZZ_MUST(p->byok || p->key_count == 0 || kind != CREDENTIAL_BYOK);
        FUZZ_MUST(p->key_count > 0 || kind != CREDENTIAL_CENTRALIZED);
        copy_list(&headers, &copy);
        credential_strip_gateway(p, &copy);
        FUZZ_MUST(header_find(&copy, CREDENTIAL_TOKEN_HEADER) == NULL);
        /* What is left begins with no token in the places where clients put one. */
        for (size_t j = 0; j < copy.count; j++) {
            const struct header *h = &copy.items[j];
            if (header_is(h, "X-Api-Key") || header_is(h, "Authorization"))
                FUZZ_MUST(strncmp(h->value + strspn(h->value, " \t"), CREDENTIAL_TOKEN_PREFIX, 4) != 0);
        }
        /* No token left: then it is judged the same or as if none had been there. */
        FUZZ_MUST(credential_judge(p, NULL, &copy, &client) != CREDENTIAL_UNKNOWN_TOKEN);
    }
    credential_strip(&providers, &headers);
    for (size_t i = 0; i < headers.count; i++)
        FUZZ_MUST(!credential_is_header(&providers, headers.items[i].name));
    header_list_fini(&headers);
    header_list_fini(&copy);
    fuzz_reader_fini(&reader);
}

/* A key of the first line, hidden in the rest, which comes in pieces. */
void fuzz_hide(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct secret *key;
    size_t len;
    size_t held = 0;
    size_t at = 0;
    size_t piece;
    char *word;
    char *text;

    fuzz_reader_init(&reader, data, size);
    piece = 1 + fuzz_byte(&reader);
    word = fuzz_line(&reader);
    text = fuzz_rest(&reader, &len);
    key = secret_new(word, strlen(word));
    FUZZ_MUST(key != NULL);
    while (at < len) {
        size_t take = len - at < piece ? len - at : piece;
        held = credential_hide(key, text + at - held, held + take);
        at += take;
        FUZZ_MUST(held <= at && (held == 0 || held < strlen(word)));
        FUZZ_MUST(memcmp(text + at - held, word, held) == 0);
    }
    /* A key of asterisks hides behind itself. */
    FUZZ_MUST(strlen(word) < CREDENTIAL_ECHO_LEN_MIN || strchr(word, '*') != NULL ||
              memmem(text, len, word, strlen(word)) == NULL);
    secret_free(&key);
    fuzz_reader_fini(&reader);
}

void fuzz_forwarded(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct header_list headers = {0};
    struct forwarded_peer peer = {0};
    struct arena arena = {0};
    unsigned how;

    fuzz_reader_init(&reader, data, size);
    how = fuzz_byte(&reader);
    peer.https = how & 1;
    peer.address = how & 2 ? fuzz_line(&reader) : NULL;
    peer.host = how & 4 ? fuzz_line(&reader) : NULL;
    fuzz_headers(&reader, &headers);
    FUZZ_MUST(forwarded_set(&headers, &peer, &arena) == 0);
    FUZZ_MUST(header_count(&headers, "X-Forwarded-For") == (peer.address != NULL ? 1 : 0));
    FUZZ_MUST(header_count(&headers, "X-Forwarded-Host") == (peer.host != NULL ? 1 : 0));
    FUZZ_MUST(header_count(&headers, "X-Forwarded-Proto") == 1);
    FUZZ_MUST(header_find(&headers, "Forwarded") == NULL);
    if (peer.address != NULL) {
        const struct header *chain = header_find(&headers, "X-Forwarded-For");
        size_t len = strlen(peer.address);
        FUZZ_MUST(chain->value_len == strlen(chain->value) && chain->value_len >= len);
        FUZZ_MUST(strcmp(chain->value + chain->value_len - len, peer.address) == 0);
    }
    header_list_fini(&headers);
    arena_fini(&arena);
    fuzz_reader_fini(&reader);
}
