/*
 * fuzz: targets that take any bytes. `make fuzz` feeds them with libFuzzer (fuzz_main.c), `make check` with
 * the files of tests/fuzz/corpus (test_corpus.c). A target checks what must hold for every input and ends the
 * process when it does not.
 *
 * A new one is a function here, a line in targets.c, a source in Makefile.am and a directory of its name in
 * tests/fuzz/corpus with at least one file.
 */
#ifndef CLAVIGER_TESTS_FUZZ_H
#define CLAVIGER_TESTS_FUZZ_H

#include "core/header.h"
#include "core/provider.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void fuzz_function(const uint8_t *data, size_t size);

fuzz_function fuzz_base_url, fuzz_chunked, fuzz_clients, fuzz_conf, fuzz_conf_text, fuzz_credential,
    fuzz_dump_json, fuzz_env, fuzz_form, fuzz_forwarded, fuzz_gunzip, fuzz_handover, fuzz_header, fuzz_hide,
    fuzz_http_rules, fuzz_keyfile, fuzz_listen, fuzz_relay, fuzz_response_head, fuzz_retry_after, fuzz_route,
    fuzz_trace, fuzz_usage;

struct fuzz_target {
    const char *name;
    fuzz_function *run;
};

/* Ordered by name; a NULL name ends it. */
extern const struct fuzz_target fuzz_targets[];

/* NULL when there is none of that name. */
const struct fuzz_target *fuzz_find(const char *name);

/* What must hold for every input. */
#define FUZZ_MUST(condition)                                                                                 \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fuzz_failed(__FILE__, __LINE__, #condition);                                                     \
    } while (0)
_Noreturn void fuzz_failed(const char *file, int line, const char *what);

/* An input that is read bit by bit. Pieces are copies of their own, so that a read beyond one is noticed. */
struct fuzz_reader {
    const uint8_t *at;
    size_t left;
    char **pieces; /* owned */
    size_t count;
};

void fuzz_reader_init(struct fuzz_reader *reader, const uint8_t *data, size_t size);
void fuzz_reader_fini(struct fuzz_reader *reader);

/* The next byte, 0 behind the end. */
unsigned fuzz_byte(struct fuzz_reader *reader);

/* The next line without its end, NUL-terminated; it is cut at a NUL of its own. "" behind the end. */
char *fuzz_line(struct fuzz_reader *reader);

/* Up to len bytes as they are, with a NUL behind; *got says how many there were. */
char *fuzz_bytes(struct fuzz_reader *reader, size_t len, size_t *got);

/* All that is left. */
char *fuzz_rest(struct fuzz_reader *reader, size_t *len);

/* Lines "name:value" up to an empty one. The list is the caller's, its strings are the reader's. */
void fuzz_headers(struct fuzz_reader *reader, struct header_list *list);

/* Providers of every type, with no key in them: whether they have keys is told by key_count only. */
struct provider_list fuzz_providers(void);

/* A file with that content for as long as the process does not ask again; the path is good in this process
 * only. */
const char *fuzz_file(const void *data, size_t len);

#endif
