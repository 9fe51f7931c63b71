/*
 * clavigerctl: the operator's command line: key states in the database, whether the daemon runs or not, and
 * requests to a running master. Opens no key.
 */
#include "clavigerctl.h"

#include "base/clock.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_TIMEOUT_S 10
#define RELOAD_TIMEOUT_S 60

static const char USAGE[] = "usage: clavigerctl [-c FILE] [--json] COMMAND [ARGUMENT ...]\n"
                            "       clavigerctl -h | -V\n";

static const char HELP[] =
    "  status                 the daemon, its workers and the pools\n"
    "  keys [PROVIDER]        every key's state, in the order of the walk\n"
    "  reset PROVIDER [KEY]   make a key, or all of the provider, valid again\n"
    "  disable PROVIDER KEY   take a key out of use\n"
    "  enable PROVIDER KEY    bring it back\n"
    "  reload                 read the configuration again; returns when it serves\n"
    "  stop                   end the daemon when requests in flight are done; returns then\n"
    "  token NAME             make a client's token and the line for the file of clients\n"
    "KEY is a position, a key_id or a hint that names one key.\n"
    "  -c, --config FILE      read FILE instead of " SYSCONFDIR "/claviger/claviger.conf\n"
    "      --json             print JSON\n"
    "  -V, --version          print the version\n"
    "  -h, --help             print this\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 clavigerd is not running.\n"
    "See clavigerctl(8).\n";

struct call {
    const struct conf *conf;
    bool json;
    const char *provider; /* NULL = not given */
    const char *key;      /* NULL = not given */
};

static int complain(const struct buf *reason)
{
    fprintf(stderr, "clavigerctl: %s\n", reason->data && !reason->failed ? reason->data : "out of memory");
    return CTL_FAILED;
}

static int print(const struct buf *text)
{
    if (text->failed)
        return complain(text);
    if (text->len > 0 && (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0)) {
        fprintf(stderr, "clavigerctl: cannot write: %s\n", strerror(errno));
        return CTL_FAILED;
    }
    return CTL_DONE;
}

static bool has_provider(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->providers.count; i++) {
        if (strcmp(conf->providers.items[i].name, name) == 0)
            return true;
    }
    return false;
}

static void put_keys(const struct store_rows *rows, struct buf *out)
{
    static const struct table_column COLUMNS[] = {{"provider", false},    {"position", true},
                                                  {"hint", false},        {"state", false},
                                                  {"seconds left", true}, {"status", true},
                                                  {"reason", false},      {"failures", true},
                                                  {"updated", false},     {"key_id", false}};
    struct table table;
    table_init(&table, COLUMNS, sizeof(COLUMNS) / sizeof(COLUMNS[0]));
    for (size_t i = 0; i < rows->count; i++) {
        const struct store_row *row = &rows->items[i];
        bool temporary = strcmp(row->state, "temporary") == 0;
        table_cell(&table, "%s", row->provider);
        table_cell(&table, "%" PRId64, row->position);
        table_cell(&table, "%s", row->hint);
        table_cell(&table, "%s", row->state);
        if (temporary)
            table_cell(&table, "%" PRId64, row->seconds_left);
        else
            table_cell(&table, "-");
        if (row->status != 0)
            table_cell(&table, "%" PRId64, row->status);
        else
            table_cell(&table, "-");
        table_cell(&table, "%s", row->reason);
        table_cell(&table, "%" PRId64, row->failures);
        table_cell(&table, "%s", row->updated);
        table_cell(&table, "%s", row->key_id);
    }
    table_print(&table, "", out);
    table_fini(&table);
}

static int run_keys(const struct call *call)
{
    struct store_rows rows = {0};
    struct buf out = {0};
    int status = CTL_FAILED;
    if (store_edit_list(call->conf->state_db, call->provider, &rows, &out) < 0) {
        complain(&out);
    } else if (call->provider && rows.count == 0 && !has_provider(call->conf, call->provider)) {
        buf_printf(&out, "there is no provider %s in the configuration", call->provider);
        complain(&out);
    } else {
        if (call->json) {
            store_rows_json(&rows, &out);
            buf_putc(&out, '\n');
        } else {
            put_keys(&rows, &out);
            if (rows.count == 0)
                buf_puts(&out, "no keys\n");
        }
        status = print(&out);
    }
    buf_fini(&out);
    store_rows_fini(&rows);
    return status;
}

static int run_edit(const struct call *call, enum store_edit_action action, const char *done)
{
    struct buf out = {0};
    int changed = 0;
    int status;
    if (store_edit_apply(call->conf->state_db, action, call->provider, call->key, clock_real_ms(), &changed,
                         &out) < 0) {
        status = complain(&out);
    } else {
        if (call->json)
            buf_printf(&out, "{\"changed\":%d}\n", changed);
        else
            buf_printf(&out, "%d key%s of provider %s %s\n", changed, changed == 1 ? "" : "s", call->provider,
                       done);
        status = print(&out);
    }
    buf_fini(&out);
    return status;
}

static int run_reset(const struct call *call)
{
    return run_edit(call, STORE_EDIT_RESET, "reset");
}

static int run_disable(const struct call *call)
{
    return run_edit(call, STORE_EDIT_DISABLE, "disabled");
}

static int run_enable(const struct call *call)
{
    return run_edit(call, STORE_EDIT_ENABLE, "enabled");
}

static int run_status(const struct call *call)
{
    struct store_rows rows = {0};
    struct buf answer = {0};
    struct buf database_error = {0};
    struct buf out = {0};
    enum ask_result asked = clavigerctl_ask(call->conf->control, "status", STATUS_TIMEOUT_S, &answer);
    bool listed = store_edit_list(call->conf->state_db, NULL, &rows, &database_error) == 0;
    struct status_view view = {
        .conf = call->conf,
        .answer = asked == ASK_OK ? (answer.data ? answer.data : "") : NULL,
        .rows = listed ? &rows : NULL,
        .database_error = database_error.data ? database_error.data : "the database cannot be read",
    };
    int status = CTL_FAILED;
    if (asked == ASK_FAILED || asked == ASK_REFUSED) {
        complain(&answer);
    } else if ((call->json ? clavigerctl_status_json(&view, &out) : clavigerctl_status_text(&view, &out)) <
               0) {
        buf_puts(&out, "clavigerd's answer cannot be understood; is it of another version?");
        complain(&out);
    } else {
        status = print(&out);
        if (status == CTL_DONE && asked == ASK_NOT_RUNNING)
            status = CTL_NOT_RUNNING;
    }
    store_rows_fini(&rows);
    buf_fini(&answer);
    buf_fini(&database_error);
    buf_fini(&out);
    return status;
}

static int run_request(const struct call *call, const char *request, int timeout_s, const char *done)
{
    struct buf answer = {0};
    struct buf out = {0};
    enum ask_result asked = clavigerctl_ask(call->conf->control, request, timeout_s, &answer);
    int status;
    if (asked == ASK_OK) {
        buf_puts(&out, call->json ? "{\"ok\":true}\n" : done);
        status = print(&out);
    } else {
        if (asked == ASK_REFUSED)
            buf_printf(&out, "%s refused: ", request);
        buf_append(&out, answer.data, answer.len);
        complain(&out);
        status = asked == ASK_NOT_RUNNING ? CTL_NOT_RUNNING : CTL_FAILED;
    }
    buf_fini(&answer);
    buf_fini(&out);
    return status;
}

static int run_reload(const struct call *call)
{
    return run_request(call, "reload", RELOAD_TIMEOUT_S, "the new configuration serves\n");
}

static int run_stop(const struct call *call)
{
    return run_request(call, "stop", 0, "clavigerd has stopped\n");
}

static int run_token(const struct call *call)
{
    return clavigerctl_token(call->provider, call->json);
}

static const struct command {
    const char *name;
    int (*run)(const struct call *call);
    int least; /* arguments */
    int most;
    /* about a configuration that has errors; NEEDS_NONE: none is read */
    enum { TAKES_NO_ERROR, TELLS_ERRORS, LEAVES_ERRORS, NEEDS_NONE } mood;
} COMMANDS[] = {
    {"status", run_status, 0, 0, TELLS_ERRORS},   {"keys", run_keys, 0, 1, TAKES_NO_ERROR},
    {"reset", run_reset, 1, 2, TAKES_NO_ERROR},   {"disable", run_disable, 2, 2, TAKES_NO_ERROR},
    {"enable", run_enable, 2, 2, TAKES_NO_ERROR}, {"reload", run_reload, 0, 0, LEAVES_ERRORS},
    {"stop", run_stop, 0, 0, LEAVES_ERRORS},      {"token", run_token, 1, 1, NEEDS_NONE},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    }
    return NULL;
}

static int run(const char *file, struct call *call, const struct command *command)
{
    struct buf errors = {0};
    if (command->mood == NEEDS_NONE)
        return command->run(call);
    struct conf *conf = conf_load_paths(file ? file : conf_default_file(), &errors);
    int status = CTL_FAILED;
    /* A reload is refused by the master in the same words; to ask and to stop it must be possible all the
     * same. */
    if (!conf || (errors.len > 0 && command->mood != LEAVES_ERRORS))
        fputs(errors.data && !errors.failed ? errors.data : "clavigerctl: out of memory\n", stderr);
    if (conf && (errors.len == 0 || command->mood != TAKES_NO_ERROR)) {
        call->conf = conf;
        status = command->run(call);
    }
    conf_free(&conf);
    buf_fini(&errors);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *file = NULL;
    struct call call = {0};
    int option;
    while ((option = getopt_long(argc, argv, "c:Vh", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'c':
            file = optarg;
            break;
        case 'j':
            call.json = true;
            break;
        case 'V':
            printf("clavigerctl/%s\n", PACKAGE_VERSION);
            return CTL_DONE;
        case 'h':
            printf("%s%s", USAGE, HELP);
            return CTL_DONE;
        default:
            fputs(USAGE, stderr);
            return CTL_USAGE;
        }
    }
    const struct command *command = optind < argc ? find_command(argv[optind]) : NULL;
    int arguments = argc - optind - 1;
    if (!command || arguments < command->least || arguments > command->most) {
        if (optind < argc && !command)
            fprintf(stderr, "clavigerctl: there is no command %s\n", argv[optind]);
        else if (command)
            fprintf(stderr, "clavigerctl: %s takes %s arguments\n", command->name,
                    arguments < command->least ? "more" : "fewer");
        fputs(USAGE, stderr);
        return CTL_USAGE;
    }
    call.provider = arguments > 0 ? argv[optind + 1] : NULL;
    call.key = arguments > 1 ? argv[optind + 2] : NULL;
    return run(file, &call, command);
}
