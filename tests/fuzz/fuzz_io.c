/* Targets for what reads files, the environment and compressed bodies. */
#include "fuzz/fuzz.h"
#include "io/clients.h"
#include "io/conf.h"
#include "io/conf_listen.h"
#include "io/conf_text.h"
#include "io/gunzip.h"
#include "io/keyfile.h"
#include "io/keyfile_env.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The linker leads every call here (-Wl,--wrap): a name in an input is never asked for on a network. */
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct addrinfo numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    return __real_getaddrinfo(host, service, &numeric, found);
}

void fuzz_keyfile(const uint8_t *data, size_t size)
{
    struct key_array keys = {0};
    struct buf reason = {0};
    struct buf entry = {0};
    size_t before;

    buf_printf(&entry, "file:%s", fuzz_file(data, size));
    if (keyfile_add(&keys, entry.data, &reason) == 0)
        FUZZ_MUST(keys.count > 0 && reason.len == 0);
    else
        FUZZ_MUST(reason.len > 0);
    before = keys.count;
    for (size_t i = 0; i < before; i++) {
        const char *key = secret_open(keys.items[i].secret);
        FUZZ_MUST(strlen(key) == secret_len(keys.items[i].secret) &&
                  strlen(keys.items[i].id) == KEY_ID_SIZE - 1);
        FUZZ_MUST(strlen(key) > 0 && strpbrk(key, " ,\t\r\n") == NULL);
        FUZZ_MUST(strlen(key) < 24 || reason.data == NULL || strstr(reason.data, key) == NULL);
        /* What is there already is refused as a literal too. */
        if (strncmp(key, "file:", 5) != 0 && strncmp(key, "env:", 4) != 0)
            FUZZ_MUST(keyfile_add(&keys, key, &reason) == -1 && keys.count == before);
    }
    key_array_fini(&keys);
    buf_fini(&entry);
    buf_fini(&reason);
}

void fuzz_clients(const uint8_t *data, size_t size)
{
    struct provider_list providers = fuzz_providers();
    struct client_list clients = {0};
    struct buf said = {0};
    struct conf_errors errors = {.file = "conf", .out = &said};

    if (clients_load(fuzz_file(data, size), &providers, &errors, 1, &clients) == 0)
        FUZZ_MUST(errors.count == 0 && said.len == 0);
    else
        FUZZ_MUST(errors.count > 0 && said.len > 0 && clients.count == 0);
    for (size_t i = 0; i < clients.count; i++) {
        const struct client_entry *c = &clients.items[i];
        FUZZ_MUST(client_name_fault(c->name, strlen(c->name)) == NULL);
        FUZZ_MUST(c->provider_count <= providers.count && (c->providers != NULL || c->provider_count == 0));
        for (size_t j = 0; j < i; j++)
            FUZZ_MUST(memcmp(c->hash, clients.items[j].hash, sizeof(c->hash)) != 0);
    }
    client_list_fini(&clients);
    buf_fini(&said);
}

void fuzz_env(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct buf packed = {0};
    size_t len;
    char *text;

    fuzz_reader_init(&reader, data, size);
    text = fuzz_rest(&reader, &len);
    clearenv(); /* what is there counts first */
    if (keyfile_env_unpack(text, len) == 0) {
        keyfile_env_pack(&packed);
        FUZZ_MUST(!packed.failed && packed.len <= len);
    }
    keyfile_env_fini();
    buf_fini(&packed);
    fuzz_reader_fini(&reader);
}

void fuzz_listen(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct conf_listen listen;
    struct conf_listen again;
    struct buf reason = {0};
    char *text;

    fuzz_reader_init(&reader, data, size);
    text = fuzz_line(&reader);
    if (conf_listen_parse(text, &listen, &reason) == 0) {
        FUZZ_MUST(strcmp(listen.text, text) == 0 && listen.addr_len > 0);
        FUZZ_MUST(listen.addr_len <= sizeof(listen.addr));
        conf_listen_is_local(&listen);
        FUZZ_MUST(conf_listen_parse(text, &again, &reason) == 0 && conf_listen_equal(&listen, &again));
        free(again.text);
    } else {
        FUZZ_MUST(reason.len > 0 && listen.text == NULL);
    }
    free(listen.text);
    buf_fini(&reason);
    fuzz_reader_fini(&reader);
}

static size_t count_lines(const char *data, size_t len)
{
    size_t lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += data[i] == '\n';
    return lines;
}

void fuzz_conf_text(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct conf_text text = {0};
    struct buf out = {0};
    struct conf_errors errors = {.file = "file", .out = &out};
    size_t len;
    char *copy;

    fuzz_reader_init(&reader, data, size);
    copy = fuzz_rest(&reader, &len);
    if (conf_text_scan(&text, copy, len, &errors)) {
        /* Line numbers stay. */
        FUZZ_MUST(count_lines(text.skeleton.data, text.skeleton.len) == count_lines(copy, len));
        FUZZ_MUST(errors.count == 0 || out.len > 0);
    } else {
        FUZZ_MUST(errors.count > 0 && out.len > 0);
    }
    for (size_t i = 0; i < text.value_count; i++)
        FUZZ_MUST(text.values[i].line >= 1 && text.values[i].line <= count_lines(copy, len) + 1);
    conf_text_top_value(&text, "state_db");
    conf_text_fini(&text);
    buf_fini(&out);
    fuzz_reader_fini(&reader);
}

/* Each line of the errors begins with the file. */
static void check_errors(const char *file, const struct buf *errors)
{
    size_t len = strlen(file);
    FUZZ_MUST(errors->len > 0 && errors->data[errors->len - 1] == '\n');
    for (const char *line = errors->data; *line != '\0'; line = strchr(line, '\n') + 1)
        FUZZ_MUST(strncmp(line, file, len) == 0 && line[len] == ':');
}

static bool has_text(const uint8_t *data, size_t size, const char *text)
{
    return memmem(data, size, text, strlen(text)) != NULL;
}

void fuzz_conf(const uint8_t *data, size_t size)
{
    static const char canary[] = "sk-canary-0123456789";
    struct buf errors = {0};
    struct buf printed = {0};
    struct conf *conf;
    const char *file = fuzz_file(data, size);

    setenv("CANARY", canary, 1);
    conf = conf_load(file, &errors);
    if (conf != NULL) {
        FUZZ_MUST(errors.len == 0 && conf->listens.count > 0 && conf->state_db[0] == '/');
        conf_print(conf, &printed);
        FUZZ_MUST(!printed.failed && (has_text(data, size, canary) || strstr(printed.data, canary) == NULL));
    } else {
        check_errors(file, &errors);
        FUZZ_MUST(has_text(data, size, canary) || strstr(errors.data, canary) == NULL);
    }
    conf_free(&conf);
    buf_clear(&errors);
    conf = conf_load_paths(file, &errors);
    FUZZ_MUST(conf == NULL || (conf->state_db != NULL && conf->control != NULL));
    conf_free(&conf);
    keyfile_env_fini();
    buf_fini(&printed);
    buf_fini(&errors);
}

void fuzz_gunzip(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct gunzip *gunzip = gunzip_new();
    struct buf out = {0};
    size_t step;
    size_t room;
    size_t total = 0;
    int result = 0;

    FUZZ_MUST(gunzip != NULL);
    fuzz_reader_init(&reader, data, size);
    step = fuzz_byte(&reader) + 1;
    room = (fuzz_byte(&reader) + 1) * 16;
    while (result == 0 && total < 1000000 && (reader.left > 0 || gunzip_is_pending(gunzip))) {
        size_t len;
        const char *in = fuzz_bytes(&reader, step, &len);
        size_t given = len;
        buf_clear(&out);
        result = gunzip_feed(gunzip, in, &len, &out, room);
        FUZZ_MUST(len <= given && out.len <= 2 * room + 65536);
        /* Each call goes on: takes bytes, gives bytes, or says that it cannot. */
        FUZZ_MUST(result != 0 || len > 0 || out.len > 0 || (given == 0 && !gunzip_is_pending(gunzip)));
        reader.at -= given - len;
        reader.left += given - len;
        total += out.len;
    }
    if (result == 0 && total < 1000000)
        gunzip_is_whole(gunzip);
    gunzip_free(&gunzip);
    buf_fini(&out);
    fuzz_reader_fini(&reader);
}
