/*
 * test_conf_tls: the `tls` section: what is kept of the files, which addresses speak TLS, and what is
 * refused.
 */
#include "conf_files.h"
#include "pem_files.h"

#include "base/secret.h"

#include <stdio.h>

static const struct {
    const char *name;
    const char *text;
    mode_t mode;
} pem_files[] = {
    {"cert.pem", PEM_CERTIFICATE, 0644},
    {"expired.pem", PEM_EXPIRED, 0644},
    {"early.pem", PEM_EARLY, 0644},
    {"key.pem", PEM_KEY, 0640},
    {"loose.pem", PEM_KEY, 0644},
    {"other.pem", PEM_OTHER_KEY, 0600},
    {"encrypted.pem", PEM_ENCRYPTED_KEY, 0600},
    {"both.pem", PEM_KEY PEM_CERTIFICATE, 0600},
    {"chain.pem", "words before it\n" PEM_CERTIFICATE "words between\n" PEM_CERTIFICATE, 0644},
    {"old-chain.pem", PEM_CERTIFICATE PEM_EXPIRED, 0644},
    {"broken.pem", PEM_CERTIFICATE "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0644},
    {"words.pem", "nothing\n", 0600},
    {"empty.pem", "", 0600},
};

static void make_pem_files(void)
{
    make_files();
    for (size_t i = 0; i < COUNT(pem_files); i++)
        write_file(pem_files[i].name, pem_files[i].text, strlen(pem_files[i].text), pem_files[i].mode);
}

static void remove_pem_files(void)
{
    char path[128];

    for (size_t i = 0; i < COUNT(pem_files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, pem_files[i].name);
        unlink(path);
    }
    remove_files();
}

#define PAIR "certificate = \"~/cert.pem\" key = \"~/key.pem\" "

static struct conf *load_good(const char *text)
{
    struct buf errors = {0};
    struct conf *conf = load(text, strstr(text, "state_db") == NULL, &errors);

    ck_assert_msg(conf != NULL, "%s", errors.data);
    buf_fini(&errors);
    return conf;
}

/* Without a certificate nothing speaks TLS, whatever stands before the address. */
START_TEST(test_none)
{
    static const char *const texts[] = {"", "tls { }", "tls { certificate = '' key = '' client_ca = '' }",
                                        "tls { client_auth = none }"};
    struct buf text = {0};
    struct conf *conf;

    buf_printf(&text, "listen = {\"127.0.0.1:90\", \"plain:127.0.0.1:91\"} %s", texts[_i]);
    conf = load_good(text.data);
    ck_assert(!conf->listens.items[0].tls && !conf->listens.items[1].tls);
    ck_assert_ptr_null(conf->tls.chain_pem);
    ck_assert_ptr_null(conf->tls.key_pem);
    ck_assert_ptr_null(conf->tls.client_ca_pem);
    ck_assert_int_eq(conf->tls.client_auth, CONF_CLIENT_AUTH_NONE);
    conf_free(&conf);
    buf_fini(&text);
}
END_TEST

/* With one the TCP addresses of `listen` do. */
START_TEST(test_addresses)
{
    struct conf *conf = load_good("listen = {\"127.0.0.1:90\", \"unix:/x\", \"plain:127.0.0.1:91\", "
                                  "\"[::1]:90\", \"plain:unix:/y\", \"plain:[::1]:91\"} tls { " PAIR " }");
    static const bool speaks[] = {true, false, false, true, false, false};

    ck_assert_uint_eq(conf->listens.count, COUNT(speaks));
    for (size_t i = 0; i < COUNT(speaks); i++)
        ck_assert_int_eq(conf->listens.items[i].tls, speaks[i]);
    for (size_t i = 0; i < conf->admin_listens.count; i++)
        ck_assert(!conf->admin_listens.items[i].tls);
    ck_assert_str_eq(conf->listens.items[2].text, "plain:127.0.0.1:91");
    conf_free(&conf);
}
END_TEST

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;

    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        count++;
    }
    return count;
}

/* Of the files only what is meant is kept. */
START_TEST(test_content)
{
    static const struct {
        const char *text;
        size_t certificates;
    } cases[] = {
        {"tls { " PAIR " }", 1},
        {"tls { certificate = \"~/chain.pem\" key = \"~/key.pem\" }", 2},
        {"tls { certificate = \"~/both.pem\" key = \"~/both.pem\" }", 1},
    };
    struct conf *conf = load_good(cases[_i].text);
    struct conf *again = load_good(cases[_i].text);
    struct buf printed = {0};

    ck_assert_uint_eq(count_of(conf->tls.chain_pem, "BEGIN CERTIFICATE"), cases[_i].certificates);
    ck_assert_uint_eq(count_of(conf->tls.chain_pem, "BEGIN"), cases[_i].certificates);
    ck_assert_uint_eq(count_of(conf->tls.chain_pem, "words"), 0);
    ck_assert_uint_eq(count_of(secret_open(conf->tls.key_pem), "BEGIN PRIVATE KEY"), 1);
    ck_assert_uint_eq(count_of(secret_open(conf->tls.key_pem), "BEGIN"), 1);
    ck_assert_ptr_null(conf->tls.client_ca_pem);
    ck_assert_int_ne(memcmp(conf->tls.ticket_key, again->tls.ticket_key, CONF_TICKET_KEY_SIZE), 0);
    conf_print(conf, &printed);
    ck_assert_ptr_null(strstr(printed.data, "PRIVATE"));
    buf_fini(&printed);
    conf_free(&conf);
    conf_free(&again);
}
END_TEST

START_TEST(test_client_auth)
{
    static const struct {
        const char *text;
        enum conf_client_auth expected;
    } cases[] = {
        {"client_ca = \"~/chain.pem\"", CONF_CLIENT_AUTH_REQUIRED},
        {"client_ca = \"~/cert.pem\" client_auth = required", CONF_CLIENT_AUTH_REQUIRED},
        {"client_ca = \"~/cert.pem\" client_auth = optional", CONF_CLIENT_AUTH_OPTIONAL},
        {"client_ca = \"~/cert.pem\" client_auth = none", CONF_CLIENT_AUTH_NONE},
    };
    struct buf text = {0};
    struct buf printed = {0};
    struct conf *conf;

    buf_printf(&text, "tls { " PAIR "%s }", cases[_i].text);
    conf = load_good(text.data);
    ck_assert_int_eq(conf->tls.client_auth, cases[_i].expected);
    ck_assert_ptr_nonnull(conf->tls.client_ca_pem);
    conf_print(conf, &printed); /* can be read again */
    conf_free(&conf);
    conf = load_good(printed.data);
    ck_assert_int_eq(conf->tls.client_auth, cases[_i].expected);
    conf_free(&conf);
    buf_fini(&printed);
    buf_fini(&text);
}
END_TEST

/* Where every client needs a certificate nobody is anonymous. */
START_TEST(test_open_addresses)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"listen = {\"*:90\"} tls { " PAIR "client_ca = \"~/cert.pem\" }", true},
        {"listen = {\"*:90\", \"plain:127.0.0.1:91\"} tls { " PAIR "client_ca = \"~/cert.pem\" }", true},
        {"listen = {\"*:90\"} tls { " PAIR " }", false},
        {"listen = {\"*:90\"} tls { " PAIR "client_ca = \"~/cert.pem\" client_auth = optional }", false},
        {"listen = {\"*:90\"} tls { " PAIR "client_ca = \"~/cert.pem\" client_auth = none }", false},
        {"listen = {\"plain:*:90\"} tls { " PAIR "client_ca = \"~/cert.pem\" }", false},
    };
    struct buf errors = {0};
    struct conf *conf = load(cases[_i].text, true, &errors);

    ck_assert_int_eq(conf != NULL, cases[_i].good);
    if (!cases[_i].good)
        ck_assert_ptr_nonnull(strstr(errors.data, "allow_anonymous = true"));
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

/* The first error's line and words; all of them stand in one line of a message. */
static const struct {
    const char *text;
    unsigned line;
    const char *words;
} bad[] = {
    {"tls {\ncertificate = \"~/cert.pem\" }", 2, "needs its key"},
    {"tls {\n\nkey = \"~/key.pem\" }", 3, "needs its certificate"},
    {"tls {\nclient_ca = \"~/cert.pem\" }", 2, "client_ca without certificate"},
    {"tls {\nclient_auth = required }", 2, "add client_ca"},
    {"tls { " PAIR "\nclient_auth = optional }", 2, "add client_ca"},
    {"tls { " PAIR "client_ca = \"~/cert.pem\"\nclient_auth = maybe }", 2, "none, optional or required"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/other.pem\" }", 2,
     "is not that of the first certificate"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/loose.pem\" }", 2, "chmod o-rwx"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/encrypted.pem\" }", 2, "is encrypted"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/words.pem\" }", 2, "holds no private key"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/empty.pem\" }", 2, "holds no private key"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/none.pem\" }", 2, "none.pem cannot be read"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"~/sub\" }", 2, "no regular file"},
    {"tls { certificate = \"~/cert.pem\"\nkey = \"key.pem\" }", 2, "no absolute path"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/expired.pem\" }", 2, "has expired on 2001-02-03"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/early.pem\" }", 2, "is not valid before 2119-03-04"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/old-chain.pem\" }", 2, "number 2 in it has expired"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/broken.pem\" }", 2, "something unreadable"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/words.pem\" }", 2, "holds no certificate"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/key.pem\" }", 2, "holds no certificate"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/none.pem\" }", 2, "none.pem cannot be read"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"~/sub\" }", 2, "sub cannot be read"},
    {"tls { key = \"~/key.pem\"\ncertificate = \"cert.pem\" }", 2, "no absolute path"},
    {"tls { " PAIR "\nclient_ca = \"~/words.pem\" }", 2, "client_ca"},
    {"tls { " PAIR "\nclient_ca = \"~/none.pem\" }", 2, "client_ca"},
    {"tls { " PAIR "\nclient_ca = \"ca.pem\" }", 2, "no absolute path"},
};

START_TEST(test_bad)
{
    struct buf errors = {0};
    struct conf *conf = load(bad[_i].text, true, &errors);
    const char *got = errors.data == NULL ? "" : errors.data;
    char place[96];

    ck_assert_msg(conf == NULL, "taken without an error:\n%s", bad[_i].text);
    snprintf(place, sizeof(place), "%s:%u: ", file, bad[_i].line);
    ck_assert_msg(strncmp(got, place, strlen(place)) == 0, "wanted %s, got %s for\n%s", place, got,
                  bad[_i].text);
    ck_assert_msg(strstr(got, bad[_i].words) != NULL, "wanted \"%s\", got %s for\n%s", bad[_i].words, got,
                  bad[_i].text);
    ck_assert_msg(strchr(got, '\n') == got + strlen(got) - 1, "more than one: %s", got);
    buf_fini(&errors);
}
END_TEST

/* clavigerctl works beside a certificate that it cannot read. */
START_TEST(test_paths_only)
{
    struct buf errors = {0};
    struct conf *conf;
    char text[512];

    snprintf(text, sizeof(text), "state_db = \"%s/state.db\" tls { certificate = \"/none\" key = \"/none\" }",
             dir);
    write_file("claviger.conf", text, strlen(text), 0600);
    conf = conf_load_paths(file, &errors);
    ck_assert_ptr_nonnull(conf);
    ck_assert_uint_eq(errors.len, 0);
    ck_assert_ptr_null(conf->tls.key_pem);
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_tls");
    TCase *tc = tcase_create("conf_tls");

    tcase_add_checked_fixture(tc, make_pem_files, remove_pem_files);
    tcase_add_loop_test(tc, test_none, 0, 4);
    tcase_add_test(tc, test_addresses);
    tcase_add_loop_test(tc, test_content, 0, 3);
    tcase_add_loop_test(tc, test_client_auth, 0, 4);
    tcase_add_loop_test(tc, test_open_addresses, 0, 6);
    tcase_add_loop_test(tc, test_bad, 0, (int)COUNT(bad));
    tcase_add_test(tc, test_paths_only);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
