/*
 * test_conf_bad: configuration files with one thing wrong, and the place and words of the error.
 */
#include "conf_files.h"

#include <stdio.h>

/* What a literal key looks like in these files; no message may show it. */
#define KEY "sk-SECRET-0123456789"

/* A bad file: the line of its first error, words of it, and how many errors there are (0 stands for one). */
struct bad {
    const char *text;
    unsigned line;
    const char *words;
    unsigned errors;
};

#define A "provider anthropic { "
#define O "provider openai { "
#define C "provider copilot { "
#define X "provider x { type = custom base_url = \"https://x.example\" "

static const struct bad bad_syntax[] = {
    {"\n\nworkers 4\n", 3, "is missing", 0},
    {"workers 4", 1, "is missing", 0},
    {"\nworkers = \n\n", 2, "value is missing", 0},
    {"\nworkers = = 3", 2, "value is missing", 0},
    {"workers", 1, "after a name", 0},
    {"\nworkers ,", 2, "after a name", 0},
    {"workers = 1,\nuser = \"\"", 1, "no comma", 0},
    {"\n}\n", 2, "closes nothing", 0},
    {"log {\n}\n}\n", 3, "closes nothing", 0},
    {"\nlog {\nlevel = info\n", 2, "not closed", 0},
    {"\n\n" A "\nkeys = {\"" KEY "\"\n", 4, "not closed", 0},
    {"\nlisten = {\n", 2, "not closed", 0},
    {"\nlisten = {\"127.0.0.1:1\"\nworkers = 4\n}", 3, "line 2", 0},
    {"listen = {\n,}", 2, "line 1", 0},
    {"listen = {\n{}}", 2, "line 1", 0},
    {"listen = {\"127.0.0.1:1\" \"127.0.0.1:2\"}", 1, "\",\" or \"}\"", 0},
    {"user = \"\n\"", 1, "not closed on its line", 0},
    {"user = 'root", 1, "not closed", 0},
    {"user = \"ro\\qot\"", 1, "escape", 0},
    {"user = \"${HOME}\"", 1, "${...}", 0},
    {"# c\n/* c\n\n", 2, "comment", 0},
    {"\nlisten = {*:8080}", 2, "unexpected \"*\"", 0},
    {"\nuser = a+b", 2, "unexpected \"+\"", 0},
    {"user = (x)", 1, "unexpected \"(\"", 0},
    {"\n\"workers\" = 4", 2, "option's name", 0},
    {"\nkeys = \"" KEY "\" \"" KEY "\"", 2, "option's name", 0},
    {"\nkeys = " KEY " " KEY "\nuser = \"\"", 2, "is missing", 0},
    {"\n" KEY "\n", 2, "after a name", 0},
    {"\nwörkers = 4", 2, "a name", 0},
    {"\nuser = \"a\001b\"", 2, "control character", 0},
    {"\n\003", 2, "control character", 0},
    {"a{b{c{d{e{f{g{h{\ni{", 2, "nested", 0},
    {"\n\nwhatever = 1\n", 3, "'whatever'", 0},
    {"log {\n\nwhatever = 1\n}", 3, "'whatever'", 0},
    {A "\n# one\n# two\n/* three\nfour */\nlisten = 4 }", 6, "'listen'", 0},
    {"\nwhatever {\n}", 2, "'whatever'", 0},
    {"limits { request_body = 1M /* x */\n// y\n wrong = 1 }", 3, "'wrong'", 0},
    {"\nworkers = {1}", 2, "one value", 0},
    {"\nlog = stderr", 2, "'log'", 0},
    {"\nworkers {\n}", 2, "'workers'", 0},
    {"\nprovider {\n}", 2, "name it", 0},
    {"\nprovider \"a b\" {\n}", 2, "a title", 0},
    {"\nprovider a/b {\n}", 2, "a title", 0},
    {"provider aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12345 { }", 1, "a title", 0},
    {"\nlog extra {\n}", 2, "'log'", 0},
    {"log { log {\n} }", 1, "'log'", 0},
};

static const struct bad bad_options[] = {
    {"workers = 1\n\nworkers = 2", 3, "line 1", 0},
    {"listen = {}\nlisten = {}", 2, "line 1", 2},
    {"log { }\nlog { }", 2, "line 1", 0},
    {"log { level = info\nlevel = info }", 2, "line 1", 0},
    {A "}\n" O "}\n" A "}", 3, "line 1", 0},
    {A "}\nprovider \"anthropic\" { }", 2, "line 1", 0},
    {"\nworkers = 129", 2, "0 to 128", 0},
    {"\nworkers = -1", 2, "not a number", 0},
    {"workers = 99999999999999999999", 1, "too large", 0},
    {"workers = four", 1, "not a number", 0},
    {"watchdog = 30", 1, "no unit", 0},
    {"watchdog = 30x", 1, "not a duration", 0},
    {"watchdog = s", 1, "not a duration", 0},
    {"watchdog = 1.5s", 1, "not a duration", 0},
    {"watchdog = 0", 1, "100ms to 1d", 0},
    {"watchdog = 2d", 1, "100ms to 1d", 0},
    {"watchdog = 99999999999999999d", 1, "too large", 0},
    {"user_agent = \"\"", 1, "user_agent", 0},
    {"user_agent = \"caf\xc3\xa9\"", 1, "user_agent", 0},
    {"allow_anonymous = maybe", 1, "neither true nor false", 0},
    {"\nuser = \"no-such-user-here\"", 2, "no-such-user-here", 0},
    {"\npid_file = \"\"", 2, "absolute path", 0},
    {"\npid_file = relative", 2, "absolute path", 0},
    {"\ncontrol = \"/\"", 2, "absolute path", 0},
    {"control = "
     "\"/tmp/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaa\"",
     1, "107 bytes", 0},
    {"\nclients = \"~/none\"", 2, "clients: ~/none cannot be read", 0},
    {"\nclients = \"~/sub\"", 2, "clients: ~/sub is no regular file", 0},
    {"\nclients = \"~/loose.clients\"", 2, "chmod o-w", 0},
    {"\nclients = good.clients", 2, "clients is no absolute path", 0},
    {"\nadmin_token = \"clv_0123\"", 2, "admin_token is no SHA-256 in hexadecimal", 0},
    {"\nadmin_token = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\"", 2,
     "admin_token", 0},
    {"trace {\n share = 1.5 }", 2, "share is no number from 0 to 1", 0},
    {"trace {\n share = \"\" }", 2, "share is no number from 0 to 1", 0},
    {"trace {\n share = \"1e-3\" }", 2, "share is no number from 0 to 1", 0},
    {"dump {\n dir = \"some/dir\" }", 2, "dir is no absolute path", 0},
    {"dump {\n dir = \"/nonexistent/dumps\" }", 2, "cannot be used (No such file or directory)", 0},
    {"dump {\n dir = \"/dev/null\" }", 2, "is no directory", 0},
    {"dump {\n file_size = 2G }", 2, "file_size", 0},
    {"dump {\n dir_size = 1K }", 2, "dir_size", 0},
    {"trace {\n\nendpoint = \"127.0.0.1:4318\" }", 3, "write an http or https URL", 0},
    {"log { target = stdout }", 1, "stderr, syslog", 0},
    {"log {\nformat = xml }", 2, "text or json", 0},
    {"log {\nlevel = 3 }", 2, "error, warning, info or debug", 0},
    {"log {\naccess = 1 }", 2, "neither", 0},
    {"limits {\nrequest_body = 2000G }", 2, "0 to 1024G", 0},
    {"limits { request_body = 1T }", 1, "not a size", 0},
    {"limits { request_body = 99999999999G }", 1, "too large", 0},
    {"limits { buffer_memory = 2G }", 1, "0 to 1G", 0},
    {"limits { header_size = 1023 }", 1, "1K to 1M", 0},
    {"limits { header_size = 2M }", 1, "1K to 1M", 0},
    {"limits { connections = 0 }", 1, "1 to 1000000", 0},
    {"limits { connections = 1K }", 1, "not a number", 0},
    {"limits { connections_per_peer = 1000001 }", 1, "0 to 1000000", 0},
    {"limits { body_rate = 2G }", 1, "0 to 1G", 0},
    {"limits { body_window = 99ms }", 1, "100ms to 1d", 0},
    {"limits { head_timeout = 0 }", 1, "1ms to 1d", 0},
    {"limits { client_timeout = 0s }", 1, "1ms to 1d", 0},
    {"limits { shutdown_timeout = 25h }", 1, "0 to 1d", 0},
    {"workers = 1000\nwatchdog = 1\nlog { level = loud }", 1, "workers", 3},
};

static const struct bad bad_listens[] = {
    {"\nlisten = {}", 2, "listen is empty", 0},
    {"listen = {\n\"127.0.0.1\"}", 2, "no port", 0},
    {"listen = {\n\"127.0.0.1:1\", # one\n\"127.0.0.1:0\"}", 3, "no valid port", 0},
    {"listen = {\"127.0.0.1:65536\"}", 1, "no valid port", 0},
    {"listen = {\"127.0.0.1:http\"}", 1, "no valid port", 0},
    {"listen = {\":80\"}", 1, "no host", 0},
    {"listen = {\"::1:80\"}", 1, "brackets", 0},
    {"listen = {\"[::1]\"}", 1, "no port", 0},
    {"listen = {\"[::1:80\"}", 1, "no port", 0},
    {"listen = {\"[127.0.0.1]:80\"}", 1, "no IPv6", 0},
    {"listen = {\"[*]:80\"}", 1, "no IPv6", 0},
    {"listen = {\"127.1:80\"}", 1, "no IPv4", 0},
    {"listen = {\"host.invalid:80\"}", 1, "unknown host", 0},
    {"listen = {\"unix:sock\"}", 1, "no absolute path", 0},
    {"listen = {unix:}", 1, "no absolute path", 0},
    {"listen = "
     "{\"unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     1, "107 bytes", 0},
    {"listen = {\"127.0.0.1:90\",\n\n\"127.0.0.1:90\"}", 3, "address of listen already", 0},
    {"listen = {\"127.0.0.1:90\",\n\"localhost:90\"}", 2, "address of listen already", 0},
    {"listen = {\"127.0.0.1:90\"}\nadmin_listen = {\"127.0.0.1:90\"}", 2, "address of listen already", 0},
    {"\nlisten = {\"127.0.0.1:8081\"}", 2, "address of listen already", 0},
    {"listen = {\"127.0.0.1:90\",\n\"plain:127.0.0.1:90\"}", 2, "address of listen already", 0},
    {"listen = {\n\"plain:\"}", 2, "no port", 0},
    {"listen = {\n\"plain:plain:127.0.0.1:90\"}", 2, "several colons", 0},
    {"listen = {\n\"plain:*:90\"}", 2, "allow_anonymous = true", 0},
    {"\nadmin_listen = {\"plain:127.0.0.1:90\"}", 2, "never speak TLS", 0},
    {"admin_listen = {\"unix:/x\",\n\"unix:/x\"}", 2, "address of admin_listen already", 0},
    {"listen = {\"127.0.0.1:80\",\n\"*:90\"}", 2, "allow_anonymous = true", 0},
    {"listen = {\n\"0.0.0.0:80\"}", 2, "allow_anonymous = true", 0},
    {"\nlisten = \"[::]:80\"", 2, "allow_anonymous = true", 0},
    {"listen = {\"192.0.2.1:80\"} allow_anonymous = no", 1, "allow_anonymous = true", 0},
    {"clients = \"\" listen = {\"192.0.2.1:80\"}", 1, "name a file of clients", 0},
};

static const struct bad bad_providers[] = {
    {"\nprovider x { base_url = \"https://x.example\" }", 2, "has no type", 0},
    {"provider x {\ntype = gemini }", 2, "anthropic, openai, copilot, custom", 0},
    {"\nprovider x {\ntype = custom }", 2, "has no base_url", 0},
    {A "\nroute = x }", 2, "begin", 0},
    {A "\nroute = \"\" }", 2, "begin", 0},
    {A "\nroute = \"/a/../b\" }", 2, "dot segment", 0},
    {A "\nroute = \"/a/%2e%2E/b\" }", 2, "dot segment", 0},
    {A "\nroute = \"/a//b\" }", 2, "empty segment", 0},
    {A "\nroute = \"/a//\" }", 2, "empty segment", 0},
    {A "\nroute = \"/a?b\" }", 2, "query", 0},
    {A "\nroute = \"/a b\" }", 2, "white space", 0},
    {A "route = /x }\n" O "\nroute = /x/ }", 3, "same route /x", 0},
    {A "route = /openai }\n" O "\n}", 2, "same route /openai", 0},
    {A "\nbase_url = \"http://api.example\" }", 2, "insecure_http = true", 0},
    {A "\nkeys = {\"" KEY "\",\n\"" KEY "\"} }", 3, "same as one before", 0},
    {A "keys = {\n\"\"} }", 2, "empty", 0},
    {A "keys = {\n\"a b\"} }", 2, "white space", 0},
    {A "keys = {\n\"claviger\"} }", 2, "placeholder", 0},
    {A "keys = {\n\"clv_SECRET\"} }", 2, "gateway token", 0},
    {A "keys = {\n\"env:TEST_CONF_UNSET\"} }", 2, "TEST_CONF_UNSET is not set", 0},
    {A "keys = {\n\"env:\"} }", 2, "env:NAME", 0},
    {A "keys = {\n/* x */\n\"file:~/none\"} }", 3, "~/none", 0},
    {A "keys = {\n\"file:~/loose.keys\"} }", 2, "chmod o-rwx", 0},
    {A "keys = {\n\"file:~/sub\"} }", 2, "no regular file", 0},
    {A "keys = {\n\"file:good.keys\"} }", 2, "absolute path", 0},
    {A "keys = {\"env:TEST_CONF_KEYS\",\n\"sk-env-two-SECRET\"} }", 2, "same as one before", 0},
    {A "keys = {\"file:~/none\",\n\"env:TEST_CONF_UNSET\"} }", 1, "~/none", 2},
    {A "\nbyok = false }", 2, "add keys", 0},
    {A "keys = {}\nbyok = false }", 2, "add keys", 0},
    {A "\nbyok = 0 }", 2, "neither", 0},
    {C "\nkeys = {\"" KEY "\"} }", 2, "has no keys", 0},
    {C "\nbyok = false }", 2, "byok", 0},
    {A "\non_401 = never }", 2, "permanent, cooldown or pass", 0},
    {A "on_403 =\nignore }", 2, "permanent, cooldown or pass", 0},
    {A "default_cooldown = 2m\nmax_cooldown = 1m }", 2, "max_cooldown", 0},
    {A "\ndefault_cooldown = 2h }", 2, "max_cooldown", 0},
    {A "\ndefault_cooldown = 0 }", 2, "1ms to 365d", 0},
    {A "\nconnect_timeout = 0s }", 2, "1ms to 7d", 0},
    {A "\nheader_timeout = 0 }", 2, "1ms to 7d", 0},
    {A "\nidle_timeout = 8d }", 2, "1ms to 7d", 0},
    {A "\nca_file = \"~/none.pem\" }", 2, "~/none.pem", 0},
    {A "\nca_file = \"~/sub\" }", 2, "no regular file", 0},
    {A "\nca_file = ca.pem }", 2, "absolute path", 0},
    {A "\nauth_header = X }", 2, "custom only", 0},
    {O "auth_prefix = X\nerror_shape = openai }", 1, "custom only", 2},
    {X "\nauth_header = \"X Y\" }", 2, "header field", 0},
    {X "\nauth_header = \"\" }", 2, "header field", 0},
    {X "\nauth_header = connection }", 2, "cannot carry", 0},
    {X "\nauth_header = host }", 2, "cannot carry", 0},
    {X "\nauth_header = x-claviger-token }", 2, "cannot carry", 0},
    {X "\nauth_header = X_Claviger_Token }", 2, "cannot carry", 0},
    {X "\nauth_header = X-Forwarded-For }", 2, "cannot carry", 0},
    {X "\nauth_header = Forwarded }", 2, "cannot carry", 0},
    {X "\nauth_header = accept-encoding }", 2, "cannot carry", 0},
    {X "\nauth_prefix = \"B\xc3\xa9\" }", 2, "auth_prefix", 0},
    {X "\nerror_shape = google }", 2, "openai or anthropic", 0},
};

/* These say themselves where the state is. */
static const struct bad bad_state[] = {
    {"\nstate_db = \"~/none/state.db\"", 2, "directory cannot be used", 0},
    {"\n\nstate_db = \"~/ca.pem/state.db\"", 3, "directory cannot be used", 0},
    {"\nstate_db = \"~/sub\"", 2, "no regular file", 0},
    {"\nstate_db = \"~/sub/\"", 2, "no regular file", 0},
    {"\nstate_db = state.db", 2, "absolute path", 0},
    {"\nstate_db = \"\"", 2, "absolute path", 0},
};

static unsigned count_lines(const char *text)
{
    unsigned count = 0;

    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static void check_bad(const struct bad *b, bool db)
{
    struct buf errors = {0};
    struct buf words = {0};
    char place[96];
    struct conf *conf = load(b->text, db, &errors);
    const char *got = errors.data == NULL ? "" : errors.data;

    for (const char *p = b->words; *p != '\0'; p++) {
        if (*p == '~')
            buf_puts(&words, dir);
        else
            buf_putc(&words, *p);
    }
    ck_assert_msg(conf == NULL, "taken without an error:\n%s", b->text);
    snprintf(place, sizeof(place), "%s:%u: ", file, b->line);
    ck_assert_msg(strncmp(got, place, strlen(place)) == 0, "wanted %s, got %s for\n%s", place, got, b->text);
    ck_assert_msg(strstr(got, words.data) != NULL, "wanted \"%s\", got %s for\n%s", words.data, got, b->text);
    ck_assert_msg(count_lines(got) == (b->errors == 0 ? 1 : b->errors), "got %s for\n%s", got, b->text);
    ck_assert_msg(strstr(got, "SECRET") == NULL, "shows a key: %s", got);
    buf_fini(&errors);
    buf_fini(&words);
}

START_TEST(test_bad_syntax)
{
    check_bad(&bad_syntax[_i], true);
}
END_TEST

START_TEST(test_bad_options)
{
    check_bad(&bad_options[_i], true);
}
END_TEST

START_TEST(test_bad_listens)
{
    check_bad(&bad_listens[_i], true);
}
END_TEST

START_TEST(test_bad_providers)
{
    check_bad(&bad_providers[_i], true);
}
END_TEST

START_TEST(test_bad_state)
{
    check_bad(&bad_state[_i], false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_bad");
    TCase *tc = tcase_create("conf_bad");

    tcase_add_checked_fixture(tc, make_files, remove_files);
    tcase_add_loop_test(tc, test_bad_syntax, 0, (int)COUNT(bad_syntax));
    tcase_add_loop_test(tc, test_bad_options, 0, (int)COUNT(bad_options));
    tcase_add_loop_test(tc, test_bad_listens, 0, (int)COUNT(bad_listens));
    tcase_add_loop_test(tc, test_bad_providers, 0, (int)COUNT(bad_providers));
    tcase_add_loop_test(tc, test_bad_state, 0, (int)COUNT(bad_state));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
