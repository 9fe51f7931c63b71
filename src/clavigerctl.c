/*
 * clavigerctl: the operator's command line: key states in the database, whether the daemon runs or not, and
 * requests to a running master. Opens no key.
 */
#include "clavigerctl.h"

#include "base/clock.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_TIMEOUT_S 10
#define RELOAD_TIMEOUT_S 60

#define INTERVAL_MS       1000
#define INTERVAL_LEAST_MS 100
#define INTERVAL_MOST_MS  (24 * 3600 * 1000)

static const char USAGE[] = "usage: clavigerctl [-c FILE] [--json] COMMAND [ARGUMENT ...]\n"
                            "       clavigerctl -h | -V\n";

static const char HELP[] =
    "  status                 the daemon, its workers and the pools\n"
    "  top                    the same and the keys, live, with the last hour's traffic\n"
    "  keys [PROVIDER]        every key's state, in the order of the walk\n"
    "  usage [PROVIDER]       token counts since a while, by provider and model\n"
    "  reset PROVIDER [KEY]   make a key, or all of the provider, valid again\n"
    "  disable PROVIDER KEY   take a key out of use\n"
    "  enable PROVIDER KEY    bring it back\n"
    "  reload                 read the configuration again; returns when it serves\n"
    "  stop                   end the daemon when requests in flight are done; returns then\n"
    "  token NAME             make a client's token and the line for the file of clients\n"
    "KEY is a position, a key_id or a hint that names one key.\n"
    "  -c, --config FILE      read FILE instead of " SYSCONFDIR "/claviger/claviger.conf\n"
    "      --json             print JSON\n"
    "      --watch            with keys: show them again and again\n"
    "      --interval SECONDS how often --watch and top look, 1 unless told otherwise\n"
    "      --since TIME       with usage: whole hours since 30m, 24h, 7d, ...; 24h unless told otherwise\n"
    "      --by WHAT          with usage: by client, key or model\n"
    "  -V, --version          print the version\n"
    "  -h, --help             print this\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 clavigerd is not running.\n"
    "See clavigerctl(8).\n";

static int run_edit(const struct call *call, enum store_edit_action action, const char *done)
{
    struct buf out = {0};
    int changed = 0;
    int status;
    if (store_edit_apply(call->conf->state_db, action, call->arguments[0], call->arguments[1],
                         clock_real_ms(), &changed, &out) < 0) {
        status = clavigerctl_fail(call, CTL_FAILED, &out);
    } else {
        if (call->json)
            buf_printf(&out, "{\"ok\":true,\"changed\":%d}\n", changed);
        else
            buf_printf(&out, "%d key%s of provider %s %s\n", changed, changed == 1 ? "" : "s",
                       call->arguments[0], done);
        status = clavigerctl_print(call, &out);
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
    bool unknown = asked == ASK_FAILED || asked == ASK_REFUSED;
    struct status_view view = {
        .conf = call->conf,
        .answer = asked == ASK_OK ? (answer.data ? answer.data : "") : NULL,
        .daemon_error = unknown ? (answer.data ? answer.data : "out of memory") : NULL,
        .rows = listed ? &rows : NULL,
        .database_error = database_error.data ? database_error.data : "the database cannot be read",
    };
    int status;
    if ((call->json ? clavigerctl_status_json(&view, &out) : clavigerctl_status_text(&view, &out)) < 0) {
        buf_clear(&out);
        buf_puts(&out, "clavigerd's answer cannot be understood; is it of another version?");
        status = clavigerctl_fail(call, CTL_FAILED, &out);
    } else {
        status = clavigerctl_print(call, &out);
        if (status == CTL_DONE && asked == ASK_NOT_RUNNING)
            status = CTL_NOT_RUNNING;
        if (unknown) {
            fprintf(stderr, "clavigerctl: %s\n", view.daemon_error);
            status = CTL_FAILED;
        }
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
        status = clavigerctl_print(call, &out);
    } else {
        if (asked == ASK_REFUSED)
            buf_printf(&out, "%s refused: ", request);
        buf_append(&out, answer.data, answer.len);
        status = clavigerctl_fail(call, asked == ASK_NOT_RUNNING ? CTL_NOT_RUNNING : CTL_FAILED, &out);
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

static const struct command {
    const char *name;
    int (*run)(const struct call *call);
    int least; /* arguments */
    int most;
    /* about a configuration that has errors; NEEDS_NONE: none is read */
    enum { TAKES_NO_ERROR, TELLS_ERRORS, LEAVES_ERRORS, NEEDS_NONE } mood;
} COMMANDS[] = {
    {"status", run_status, 0, 0, TELLS_ERRORS},
    {"keys", clavigerctl_keys, 0, 1, TAKES_NO_ERROR},
    {"reset", run_reset, 1, 2, TAKES_NO_ERROR},
    {"disable", run_disable, 2, 2, TAKES_NO_ERROR},
    {"enable", run_enable, 2, 2, TAKES_NO_ERROR},
    {"reload", run_reload, 0, 0, LEAVES_ERRORS},
    {"stop", run_stop, 0, 0, LEAVES_ERRORS},
    {"token", clavigerctl_token, 1, 1, NEEDS_NONE},
    {"usage", clavigerctl_usage, 0, 1, TAKES_NO_ERROR},
    {"top", clavigerctl_top, 0, 0, TELLS_ERRORS},
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
    if (conf && (errors.len == 0 || command->mood != TAKES_NO_ERROR)) {
        if (errors.len > 0 && command->mood == TELLS_ERRORS)
            fputs(errors.failed ? "clavigerctl: out of memory\n" : errors.data, stderr);
        call->conf = conf;
        status = command->run(call);
    } else {
        status = clavigerctl_fail(call, CTL_FAILED, &errors);
    }
    conf_free(&conf);
    buf_fini(&errors);
    return status;
}

struct options {
    const char *file;     /* NULL = the default */
    const char *interval; /* as written; NULL = not given */
    struct call call;
    bool wrong; /* getopt has said why */
};

/* -1 = go on, otherwise the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option OPTIONS[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"watch", no_argument, NULL, 'w'},
        {"interval", required_argument, NULL, 'i'},
        {"since", required_argument, NULL, 's'},
        {"by", required_argument, NULL, 'b'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:Vh", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->file = optarg;
            break;
        case 'j':
            options->call.json = true;
            break;
        case 'w':
            options->call.watch = true;
            break;
        case 'i':
            options->interval = optarg;
            break;
        case 's':
            options->call.since = optarg;
            break;
        case 'b':
            options->call.by = optarg;
            break;
        case 'V':
            printf("clavigerctl/%s\n", PACKAGE_VERSION);
            return CTL_DONE;
        case 'h':
            printf("%s%s", USAGE, HELP);
            return CTL_DONE;
        default:
            options->wrong = true; /* what follows may still say --json */
            break;
        }
    }
    return -1;
}

/* false when it is no number of seconds that makes sense. */
static bool parse_interval(struct options *options)
{
    char *end = NULL;
    options->call.interval_ms = INTERVAL_MS;
    if (!options->interval)
        return true;
    double ms = strtod(options->interval, &end) * 1000;
    if (end == options->interval || *end != '\0' || !(ms >= INTERVAL_LEAST_MS) || !(ms <= INTERVAL_MOST_MS))
        return false;
    options->call.interval_ms = (int64_t)ms;
    return true;
}

/* What is wrong with the command line, in *reason; nothing = it is fine. */
static void check_usage(struct options *options, const char *name, const struct command *command,
                        int arguments, struct buf *reason)
{
    bool keys = command && strcmp(command->name, "keys") == 0;
    bool top = command && strcmp(command->name, "top") == 0;
    if (options->wrong)
        buf_puts(reason, "wrong usage");
    else if (!name)
        buf_puts(reason, "a command is missing");
    else if (!command)
        buf_printf(reason, "there is no command %s", name);
    else if (arguments < command->least || arguments > command->most)
        buf_printf(reason, "%s takes %s arguments", command->name,
                   arguments < command->least ? "more" : "fewer");
    else if (options->call.watch && !keys)
        buf_puts(reason, "--watch is for keys");
    else if (options->interval && !options->call.watch && !top)
        buf_puts(reason, "--interval is for top and keys --watch");
    else if (!parse_interval(options))
        buf_puts(reason, "--interval takes seconds, from 0.1 to 86400");
    else
        clavigerctl_usage_check(&options->call, strcmp(command->name, "usage") == 0, reason);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct buf reason = {0};
    int status = parse_options(argc, argv, &options);
    if (status >= 0)
        return status;
    const char *name = optind < argc ? argv[optind] : NULL;
    const struct command *command = name ? find_command(name) : NULL;
    int arguments = name ? argc - optind - 1 : 0;
    check_usage(&options, name, command, arguments, &reason);
    if (!command || reason.len > 0 || reason.failed) {
        status = clavigerctl_fail(&options.call, CTL_USAGE, &reason);
        fputs(USAGE, stderr);
    } else {
        for (int i = 0; i < arguments && i < CTL_ARGUMENTS; i++)
            options.call.arguments[i] = argv[optind + 1 + i];
        status = run(options.file, &options.call, command);
    }
    buf_fini(&reason);
    return status;
}
