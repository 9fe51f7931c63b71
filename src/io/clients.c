/*
 * clients: from the file of client tokens to the table that core/client searches. Called by conf while it
 * loads, so that a reload takes the new file or leaves the old table as it is. What stands in a line is
 * repeated in no message but the client's name: somebody may have written a token in the place of its hash.
 */
#include "io/clients.h"

#include "base/fd.h"
#include "base/secret.h"
#include "core/ascii.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX (1024 * 1024)
#define ERRORS_MAX    10
#define FIELDS        4 /* NAME, HASH, PROVIDERS, BYOK */

struct field {
    const char *start;
    size_t len;
};

/* A file on its way. */
struct reading {
    const struct provider_list *providers;
    struct conf_errors errors; /* their places are in the file of clients */
    struct client_list *list;
    size_t cap;
    unsigned *lines; /* of each client */
    unsigned line;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool field_is(const struct field *field, const char *word)
{
    return field->len == strlen(word) && memcmp(field->start, word, field->len) == 0;
}

/* The fields of a line; how many, FIELDS + 1 when there are too many. */
static size_t split(const char *start, size_t len, struct field fields[FIELDS])
{
    const char *end = start + len;
    size_t count = 0;

    for (;;) {
        const char *colon = memchr(start, ':', (size_t)(end - start));

        if (count == FIELDS)
            return FIELDS + 1;
        fields[count].start = start;
        fields[count].len = (size_t)((colon != NULL ? colon : end) - start);
        count++;
        if (colon == NULL)
            return count;
        start = colon + 1;
    }
}

/* What is wrong with the hash; NULL = nothing. */
static const char *read_hash(const struct field *field, unsigned char hash[DIGEST_SIZE])
{
    static const char prefix[] = CLIENT_TOKEN_PREFIX;

    if (field->len >= sizeof(prefix) - 1 && memcmp(field->start, prefix, sizeof(prefix) - 1) == 0)
        return "is a token, which must stand nowhere but with its client: make a new one with clavigerctl "
               "token and write the line that it prints";
    if (field->len != 2 * (size_t)DIGEST_SIZE)
        return "is no SHA-256, which has 64 hexadecimal digits: write the line that clavigerctl token prints";
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        int high = ascii_hex_value(field->start[2 * i]);
        int low = ascii_hex_value(field->start[2 * i + 1]);

        if (high < 0 || low < 0)
            return "has a character that is no hexadecimal digit: write the line that clavigerctl token "
                   "prints";
        hash[i] = (unsigned char)(high * 16 + low);
    }
    return NULL;
}

static const struct provider *find_provider(const struct provider_list *providers, const struct field *name)
{
    for (size_t i = 0; i < providers->count; i++) {
        if (field_is(name, providers->items[i].name))
            return &providers->items[i];
    }
    return NULL;
}

/* Reads the list of providers. 0, or -1 after an error. */
static int read_providers(struct reading *r, const struct field *field, struct client_entry *client)
{
    const char *at = field->start;
    const char *end = field->start + field->len;

    if (field->len == 0)
        return 0;
    client->providers = calloc(r->providers->count + 1, sizeof(const struct provider *));
    if (client->providers == NULL) {
        conf_error_memory(&r->errors);
        return -1;
    }
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct field name = {at, (size_t)((comma != NULL ? comma : end) - at)};
        const struct provider *provider = find_provider(r->providers, &name);

        if (provider == NULL) {
            conf_error(&r->errors, r->line,
                       "client %s: its third field names a provider that is not configured: write names of "
                       "providers with commas between and no space, or leave it empty for all",
                       client->name);
            return -1;
        }
        if (!client_may_use(client, provider))
            client->providers[client->provider_count++] = provider;
        if (comma == NULL)
            return 0;
        at = comma + 1;
    }
}

static bool has_same_rights(const struct client_entry *a, const struct client_entry *b)
{
    if (a->byok != b->byok || (a->providers == NULL) != (b->providers == NULL) ||
        a->provider_count != b->provider_count)
        return false;
    for (size_t i = 0; i < a->provider_count; i++) {
        if (!client_may_use(b, a->providers[i]))
            return false;
    }
    return true;
}

/* Whether the client fits to those before it. */
static bool check_others(struct reading *r, const struct client_entry *client)
{
    unsigned same_name = 0;

    for (size_t i = 0; i < r->list->count; i++) {
        const struct client_entry *other = &r->list->items[i];

        if (memcmp(other->hash, client->hash, DIGEST_SIZE) == 0) {
            conf_error(&r->errors, r->line,
                       "client %s: its hash stands in line %u already: make a token for each client",
                       client->name, r->lines[i]);
            return false;
        }
        if (strcmp(other->name, client->name) != 0)
            continue;
        if (++same_name == 2) {
            conf_error(&r->errors, r->line,
                       "client %s stands in two lines before this one: keep the old token and the new one, "
                       "or name this client otherwise",
                       client->name);
            return false;
        }
        if (!has_same_rights(other, client)) {
            conf_error(&r->errors, r->line,
                       "client %s has other providers or another word about BYOK in line %u: say the same "
                       "in both lines, or name this client otherwise",
                       client->name, r->lines[i]);
            return false;
        }
    }
    return true;
}

/* Takes the client over. 0, or -1 after an error. */
static int append(struct reading *r, const struct client_entry *client)
{
    struct client_list *list = r->list;

    if (list->count == CLIENTS_MAX) {
        conf_error(&r->errors, r->line, "there are over %d clients: remove some", CLIENTS_MAX);
        return -1;
    }
    if (list->count == r->cap) {
        size_t cap = r->cap == 0 ? 16 : 2 * r->cap;
        struct client_entry *items = reallocarray(list->items, cap, sizeof(*items));
        unsigned *lines = reallocarray(r->lines, cap, sizeof(*lines));

        if (items != NULL)
            list->items = items;
        if (lines != NULL)
            r->lines = lines;
        if (items == NULL || lines == NULL) {
            conf_error_memory(&r->errors);
            return -1;
        }
        r->cap = cap;
    }
    r->lines[list->count] = r->line;
    list->items[list->count++] = *client;
    return 0;
}

static int read_fields(struct reading *r, const struct field *fields, size_t count,
                       struct client_entry *client)
{
    const char *fault = client_name_fault(fields[0].start, fields[0].len);

    if (fault != NULL) {
        conf_error(&r->errors, r->line, "the client's name %s", fault);
        return -1;
    }
    client->name = strndup(fields[0].start, fields[0].len);
    if (client->name == NULL) {
        conf_error_memory(&r->errors);
        return -1;
    }
    fault = read_hash(&fields[1], client->hash);
    if (fault != NULL) {
        conf_error(&r->errors, r->line, "client %s: its hash %s", client->name, fault);
        return -1;
    }
    if (count > 2 && read_providers(r, &fields[2], client) < 0)
        return -1;
    client->byok = count <= 3 || !field_is(&fields[3], "nobyok");
    if (client->byok && count > 3 && fields[3].len > 0 && !field_is(&fields[3], "byok")) {
        conf_error(&r->errors, r->line, "client %s: its fourth field is unknown: write byok or nobyok",
                   client->name);
        return -1;
    }
    return check_others(r, client) ? append(r, client) : -1;
}

static void read_line(struct reading *r, const char *start, size_t len)
{
    struct field fields[FIELDS];
    struct client_entry client = {0};
    size_t count;

    while (len > 0 && is_space(*start)) {
        start++;
        len--;
    }
    while (len > 0 && is_space(start[len - 1]))
        len--;
    if (len == 0 || *start == '#')
        return;
    count = split(start, len, fields);
    if (count < 2 || count > FIELDS) {
        conf_error(&r->errors, r->line,
                   "this is no line of a client: write NAME:HASH, NAME:HASH:PROVIDERS or "
                   "NAME:HASH:PROVIDERS:nobyok");
    } else if (read_fields(r, fields, count, &client) < 0) {
        free(client.name);
        free(client.providers);
    }
}

static void read_lines(struct reading *r, const char *data, size_t len)
{
    const char *end = data + len;

    for (const char *p = data; p < end; p++) {
        const char *start = p;

        p = memchr(start, '\n', (size_t)(end - start));
        if (p == NULL)
            p = end;
        r->line++;
        read_line(r, start, (size_t)(p - start));
        if (r->errors.count == ERRORS_MAX) {
            conf_error(&r->errors, r->line, "the rest is not looked at: is it a file of clients?");
            return;
        }
    }
}

/* Opens the file when it may be trusted; -1 after an error. */
static int open_checked(const char *path, struct conf_errors *errors, unsigned line)
{
    struct stat st;
    int fd;

    if (path[0] != '/') {
        conf_error(errors, line, "clients is no absolute path: begin it with \"/\"");
        return -1;
    }
    /* O_NONBLOCK: the open of a FIFO would wait for a writer. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        conf_error(errors, line, "clients: %s cannot be read (%s): correct the path or its permissions", path,
                   strerror(errno));
    else if (!S_ISREG(st.st_mode))
        conf_error(errors, line, "clients: %s is no regular file: name one", path);
    else if ((st.st_mode & S_IWOTH) != 0)
        conf_error(errors, line,
                   "clients: %s can be written by others than its owner and group (mode %04o), who could "
                   "let themselves in: run chmod o-w on it",
                   path, (unsigned)st.st_mode & 07777U);
    else
        return fd;
    fd_close(&fd);
    return -1;
}

int clients_load(const char *path, const struct provider_list *providers, struct conf_errors *errors,
                 unsigned line, struct client_list *list)
{
    struct reading r = {.providers = providers, .errors = {.file = path, .out = errors->out}, .list = list};
    size_t len;
    char *data;
    int fd = open_checked(path, errors, line);

    if (fd < 0)
        return -1;
    data = fd_read_file(fd, FILE_SIZE_MAX, &len);
    if (data == NULL) {
        if (errno == EFBIG)
            conf_error(errors, line, "clients: %s is over 1 MiB: is it a file of clients?", path);
        else
            conf_error(errors, line, "clients: %s cannot be read: %s", path, strerror(errno));
        fd_close(&fd);
        return -1;
    }
    fd_close(&fd);
    read_lines(&r, data, len);
    secret_wipe(data, len); /* a token may stand there by mistake */
    free(data);
    free(r.lines);
    errors->count += r.errors.count;
    if (r.errors.count == 0)
        return 0;
    client_list_fini(list);
    return -1;
}
